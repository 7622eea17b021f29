package diff

import (
	"encoding/json"
	"fmt"
	"strconv"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/kwatchman/kwatchman/event"
)

// mergePatch is the RFC 7396 merge patch from old to new, nil where there is
// no new manifest or the patch is larger than limit bytes. A merge patch knows
// no null as a value: a member that becomes null is one that it removes.
//
// The library takes JSON, decodes both sides and encodes what it found, which
// for whole manifests is half of this function's time. So it is shown only what
// differs, with a number for each value.
func mergePatch(old, new map[string]any, limit int) (json.RawMessage, error) {
	if new == nil {
		return nil, nil
	}
	var s skeleton
	from, to := s.differing(old, new)
	before, err := json.Marshal(from)
	if err != nil {
		return nil, fmt.Errorf("encode old manifest: %w", err)
	}
	after, err := json.Marshal(to)
	if err != nil {
		return nil, fmt.Errorf("encode new manifest: %w", err)
	}
	bare, err := jsonpatch.CreateMergePatch(before, after)
	if err != nil {
		return nil, fmt.Errorf("create merge patch: %w", err)
	}
	members, err := event.DecodeManifest(bare)
	if err != nil {
		return nil, fmt.Errorf("create merge patch: %w", err)
	}
	s.fill(members)
	w := jsonWriter{out: make([]byte, 0, 2<<10)}
	w.value(members)
	if len(w.out) > limit {
		return nil, nil
	}
	return w.out, nil
}

// skeleton holds the values that are numbers in what the library sees.
type skeleton struct{ values []any }

// differing keeps of two maps the members that are not the same in both, with
// a stand-in for each old value that goes as a whole.
func (s *skeleton) differing(old, new map[string]any) (from, to map[string]any) {
	from, to = map[string]any{}, map[string]any{}
	for key, o := range old {
		n, ok := new[key]
		if identical(o, n) {
			continue
		}
		om, okOld := o.(map[string]any)
		nm, okNew := n.(map[string]any)
		switch {
		case !ok:
			from[key] = ""
		case okOld && okNew:
			if f, t := s.differing(om, nm); len(f)+len(t) > 0 {
				from[key], to[key] = f, t
			}
		case !same(o, n):
			from[key], to[key] = "", s.number(n)
		}
	}
	for key, n := range new {
		if _, ok := old[key]; !ok {
			to[key] = s.number(n)
		}
	}
	return from, to
}

// number stands for a new value; null is itself.
func (s *skeleton) number(v any) any {
	if v == nil {
		return nil
	}
	s.values = append(s.values, v)
	return len(s.values) - 1
}

// fill puts the values where their numbers are.
func (s *skeleton) fill(members map[string]any) {
	for key, v := range members {
		switch v := v.(type) {
		case map[string]any:
			s.fill(v)
		case json.Number:
			if i, err := strconv.Atoi(v.String()); err == nil && i < len(s.values) {
				members[key] = s.values[i]
			}
		}
	}
}
