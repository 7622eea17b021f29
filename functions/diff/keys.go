package diff

import "slices"

// sortedKeys are the keys of a map in order.
func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// keysOf are the keys of both maps in order, each once.
func keysOf(a, b map[string]any) []string {
	keys := make([]string, 0, max(len(a), len(b)))
	for key := range a {
		keys = append(keys, key)
	}
	for key := range b {
		if _, ok := a[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// keyStack holds the keys of the maps that are being written, each map's in
// order, so that not every map needs a list of its own.
type keyStack []string

// push adds the keys of a map and tells where they begin; cutting the stack
// there takes them away.
func (k *keyStack) push(m map[string]any) (first int) {
	first = len(*k)
	for key := range m {
		*k = append(*k, key)
	}
	slices.Sort((*k)[first:])
	return first
}
