package diff

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// mergePatch is the RFC 7396 merge patch from old to new, nil where there is
// no new manifest or the patch is larger than limit bytes. A merge patch knows
// no null as a value: a member that becomes null is one that it removes.
//
// It is written here because the library for it takes JSON, decodes both
// manifests once more and encodes what it found: half of this function's time
// for a usual change, which replaces a list of containers. The tests compare
// the two byte by byte.
func mergePatch(old, new map[string]any, limit int) json.RawMessage {
	if new == nil {
		return nil
	}
	var w jsonWriter
	w.patch(old, new)
	if len(w.out) > limit {
		return nil
	}
	return w.out
}

// jsonWriter writes decoded JSON: sorted keys and HTML escapes, as
// encoding/json has them.
type jsonWriter struct {
	out  []byte
	keys keyStack
}

// patch writes what turns old into new and tells whether that is anything.
func (w *jsonWriter) patch(old, new map[string]any) bool {
	w.byte('{')
	empty := len(w.out)
	for _, key := range keysOf(old, new) {
		o, inOld := old[key]
		n, inNew := new[key]
		if inOld && inNew && identical(o, n) {
			continue
		}
		om, okOld := o.(map[string]any)
		nm, okNew := n.(map[string]any)
		before := len(w.out)
		switch {
		case !inNew:
			w.key(key, before == empty)
			w.value(nil)
		case okOld && okNew:
			w.key(key, before == empty)
			if !w.patch(om, nm) {
				w.out = w.out[:before]
			}
		case !inOld || !same(o, n):
			w.key(key, before == empty)
			w.value(n)
		}
	}
	w.byte('}')
	return len(w.out) > empty+1
}

func (w *jsonWriter) key(key string, first bool) {
	if !first {
		w.byte(',')
	}
	w.string(key)
	w.byte(':')
}

func (w *jsonWriter) value(v any) {
	switch v := v.(type) {
	case map[string]any:
		w.byte('{')
		first := w.keys.push(v)
		for i := range len(v) {
			key := w.keys[first+i]
			w.key(key, i == 0)
			w.value(v[key])
		}
		w.keys = w.keys[:first]
		w.byte('}')
	case []any:
		w.byte('[')
		for i, item := range v {
			if i > 0 {
				w.byte(',')
			}
			w.value(item)
		}
		w.byte(']')
	case string:
		w.string(v)
	case json.Number:
		w.text(v.String())
	case bool:
		w.out = strconv.AppendBool(w.out, v)
	default:
		w.text("null")
	}
}

func (w *jsonWriter) byte(c byte)   { w.out = append(w.out, c) }
func (w *jsonWriter) text(s string) { w.out = append(w.out, s...) }

func (w *jsonWriter) string(s string) {
	w.byte('"')
	for begin := 0; ; {
		n := plainPrefix(s[begin:])
		w.text(s[begin : begin+n])
		if begin += n; begin == len(s) {
			break
		}
		r, size := utf8.DecodeRuneInString(s[begin:])
		w.escape(r)
		begin += size
	}
	w.byte('"')
}

// plainPrefix is how much of s stands for itself in JSON.
func plainPrefix(s string) int {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0xe2 {
			return i
		}
	}
	return len(s)
}

func (w *jsonWriter) escape(r rune) {
	switch r {
	case '"', '\\':
		w.out = append(w.out, '\\', byte(r))
	case '\n':
		w.text(`\n`)
	case '\r':
		w.text(`\r`)
	case '\t':
		w.text(`\t`)
	default:
		if r < utf8.RuneSelf || r == '\u2028' || r == '\u2029' {
			w.out = fmt.Appendf(w.out, `\u%04x`, r)
		} else {
			w.out = utf8.AppendRune(w.out, r)
		}
	}
}
