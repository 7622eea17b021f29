package diff

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// jsonWriter writes decoded JSON as encoding/json does, with sorted keys and
// HTML escapes, which takes that a fifth of this function's time.
type jsonWriter struct {
	out  []byte
	keys keyStack
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
