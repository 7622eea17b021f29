package diff

import (
	"maps"
	"slices"
	"strings"
)

// keepNoise copies the levels of a manifest from which event.Clean removes:
// the top, the metadata and its annotations. The values are shared.
func keepNoise(m map[string]any) map[string]any {
	m = maps.Clone(m)
	if meta, ok := m["metadata"].(map[string]any); ok {
		meta = maps.Clone(meta)
		m["metadata"] = meta
		if annotations, ok := meta["annotations"].(map[string]any); ok {
			meta["annotations"] = maps.Clone(annotations)
		}
	}
	return m
}

// quietReason says why an update is not worth a message: which of the fields
// that Clean took away it changed. Every update writes a resourceVersion, so
// that one is named only when it is alone.
func (p *pair) quietReason() string {
	const version = "metadata.resourceVersion"
	fields := changedFields(nil, p.was, p.is)
	if len(fields) > 1 {
		fields = slices.DeleteFunc(fields, func(f string) bool { return f == version })
	}
	if len(fields) == 0 {
		return "nothing changed"
	}
	return "only " + strings.Join(fields, ", ") + " changed"
}

func changedFields(at path, old, new map[string]any) []string {
	var fields []string
	for _, key := range keysOf(old, new) {
		o, inOld := old[key]
		n, inNew := new[key]
		here := append(at, key)
		if len(at) == 0 && key == "metadata" || len(at) == 1 && key == "annotations" {
			was, okOld := o.(map[string]any)
			is, okNew := n.(map[string]any)
			if (okOld || !inOld) && (okNew || !inNew) {
				fields = append(fields, changedFields(here, was, is)...)
				continue
			}
		}
		if inOld != inNew || !same(o, n) {
			fields = append(fields, here.String())
		}
	}
	return fields
}
