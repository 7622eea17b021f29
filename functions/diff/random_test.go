package diff

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
)

// random makes decoded JSON values of the kinds that manifests hold, and of
// some that they should not.
type random struct {
	*rand.Rand
	nulls bool // null may be a member of a map
}

func newRandom(seed uint64) random { return random{Rand: rand.New(rand.NewPCG(seed, 42))} }

func pick[T any](r random, of ...T) T { return of[r.IntN(len(of))] }

func (r random) object(depth int) map[string]any {
	m := map[string]any{}
	for range r.IntN(5) {
		key := r.key()
		if v := r.value(depth); v != nil || r.nulls {
			m[key] = v
		}
	}
	return m
}

func (r random) value(depth int) any {
	n := 8
	if depth <= 0 {
		n = 6
	}
	switch r.IntN(n) {
	case 0:
		return r.IntN(2) == 0
	case 1:
		return json.Number(pick(r, "0", "-0", "3", "9007199254740993", "1.10", "1e3", "1E-7", "-12.50", "8080"))
	case 2, 3:
		return r.text()
	case 4:
		return pick(r, "", "5", "1e3", "true", "~", "0x1f", "1:30", "2026-11-22", "web:1.4", "a: b", "- x", "#", "no")
	case 5:
		if !r.nulls {
			return json.Number("1")
		}
		return nil
	case 6:
		l := make([]any, r.IntN(4))
		for i := range l {
			if l[i] = r.value(depth - 1); l[i] == nil && !r.nulls {
				l[i] = "x"
			}
		}
		return l
	default:
		return r.object(depth - 1)
	}
}

func (r random) key() string {
	return pick(r, "name", "image", "spec", "data", "a", "b", "c", "app.conf", "example.com/x", "on", "1", "", " ", "<<", "é", "a\nb", "metadata", "annotations", "status")
}

// text strings together pieces that are hard on YAML.
func (r random) text() string {
	var b strings.Builder
	for range r.IntN(6) {
		b.WriteString(pick(r, "a", "word", " ", "  ", "\n", "\n", "\n\n", "\t", "\r\n", "\x00", "\x1b[31m", "\x7f", "\u0085", "\u00a0",
			"\u2028", "\u202e", "\ufeff", "\ufffd", "🎉", "\U000e0001", "ü", ":", "#", "-", "'", `"`, `\`, "{", "]", ",", "|", "%", "---", "..."))
	}
	return b.String()
}

// edit returns a copy of v with a few differences.
func (r random) edit(v any, depth int) any {
	if r.IntN(12) == 0 {
		if w := r.value(depth); w != nil || r.nulls {
			return w
		}
	}
	switch v := v.(type) {
	case map[string]any:
		return r.editObject(v, depth)
	case []any:
		out := []any{}
		for _, item := range v {
			if r.IntN(8) > 0 {
				out = append(out, r.edit(item, depth-1))
			}
		}
		return out
	case string:
		if r.IntN(6) == 0 {
			return v + r.text()
		}
	}
	return v
}

func (r random) editObject(m map[string]any, depth int) map[string]any {
	out := map[string]any{}
	for _, key := range sortedKeys(m) { // in order, so that a seed says it all
		if r.IntN(8) > 0 {
			out[key] = r.edit(m[key], depth-1)
		}
	}
	if r.IntN(4) == 0 {
		if v := r.value(depth); v != nil || r.nulls {
			out[r.key()] = v
		}
	}
	return out
}
