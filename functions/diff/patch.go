package diff

import (
	"encoding/json"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

// mergePatch is the RFC 7396 merge patch from old to new, nil where there is
// no new manifest or the patch is larger than limit bytes. A merge patch knows
// no null as a value: a member that becomes null is one that it removes.
func mergePatch(old, new map[string]any, limit int) (json.RawMessage, error) {
	if new == nil {
		return nil, nil
	}
	// The library takes JSON and decodes it again, so it gets no more than it
	// needs, which takes half the time for a usual manifest.
	old, new = differing(old, new)
	from, err := json.Marshal(old)
	if err != nil {
		return nil, fmt.Errorf("encode old manifest: %w", err)
	}
	to, err := json.Marshal(new)
	if err != nil {
		return nil, fmt.Errorf("encode new manifest: %w", err)
	}
	patch, err := jsonpatch.CreateMergePatch(from, to)
	if err != nil {
		return nil, fmt.Errorf("create merge patch: %w", err)
	}
	if len(patch) > limit {
		return nil, nil
	}
	return patch, nil
}

// differing keeps of two maps the members that are not the same in both, with
// a stand-in for each old value that goes as a whole.
func differing(old, new map[string]any) (from, to map[string]any) {
	from, to = map[string]any{}, map[string]any{}
	for key, o := range old {
		n, ok := new[key]
		om, okOld := o.(map[string]any)
		nm, okNew := n.(map[string]any)
		switch {
		case !ok:
			from[key] = standIn(nil)
		case okOld && okNew:
			if f, t := differing(om, nm); len(f)+len(t) > 0 {
				from[key], to[key] = f, t
			}
		case !same(o, n):
			from[key], to[key] = standIn(n), n
		}
	}
	for key, n := range new {
		if _, ok := old[key]; !ok {
			to[key] = n
		}
	}
	return from, to
}

// standIn is a small value that differs from v.
func standIn(v any) any {
	if v == nil {
		return true
	}
	return nil
}
