package object

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// lastApplied repeats the whole manifest, Secrets and passwords included.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// clean removes from metadata what never leaves the watcher, for every kind.
func clean(metadata map[string]json.RawMessage) {
	delete(metadata, "managedFields") // summed up in changedBy
	raw, ok := metadata["annotations"]
	if !ok {
		return
	}
	var annotations map[string]json.RawMessage
	if json.Unmarshal(raw, &annotations) != nil {
		// No API server serves annotations that are no map; what cannot be
		// looked into does not leave.
		delete(metadata, "annotations")
		return
	}
	if _, ok := annotations[lastApplied]; !ok {
		return
	}
	delete(annotations, lastApplied)
	if len(annotations) == 0 {
		delete(metadata, "annotations")
		return
	}
	metadata["annotations"] = join(annotations)
}

// join writes a map back as JSON with sorted keys. The values are JSON already
// and are not read again.
func join(m map[string]json.RawMessage) json.RawMessage {
	size := 2
	for k, v := range m {
		size += len(k) + len(v) + 4
	}
	out := append(make([]byte, 0, size), '{')
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(out, quote(k)...), ':')
		out = append(out, m[k]...)
	}
	return append(out, '}')
}

func quote(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string always encodes
	return b
}

// safe keeps of a JSON error where it is and leaves out what it quotes.
func safe(err error) error {
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("syntax error at byte %d", s.Offset)
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s is wanted at byte %d", t.Type, t.Offset)
	}
	return errors.New("not JSON")
}
