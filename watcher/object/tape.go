package object

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"
)

// tape is a JSON text with the place of each value in it, in order, so that it
// can be walked without being decoded. The text has been checked before, when
// it was packed; what does not fit is an error all the same.
type tape struct {
	raw []byte
	at  []place
}

// place is where a value lies, and the name in front of it.
type place struct {
	nameStart, nameEnd int32 // with its quotes; equal: no name
	start, end         int32
	next               int32 // index of the place behind this value and all below it
}

// none is no value.
const none int32 = -1

var errTape = errors.New("not JSON")

// read takes a text in; raw must not change while the tape is used.
func (t *tape) read(raw []byte) error {
	t.raw, t.at = raw, t.at[:0]
	i := t.value(t.space(0), 0, 0)
	if i < 0 || t.space(i) != len(raw) || len(raw) > maxDecompressed {
		return errTape
	}
	return nil
}

// value notes the value that starts at i, behind a name, and all below it; it
// gives the index behind it, or a negative one.
func (t *tape) value(i, nameStart, nameEnd int) int {
	if i >= len(t.raw) {
		return -1
	}
	p := len(t.at)
	t.at = append(t.at, place{nameStart: int32(nameStart), nameEnd: int32(nameEnd), start: int32(i)}) //nolint:gosec // at most maxDecompressed
	switch t.raw[i] {
	case '{':
		i = t.object(i + 1)
	case '[':
		i = t.list(i + 1)
	case '"':
		i = t.text(i)
	default:
		start := i
		for i < len(t.raw) && !ends[t.raw[i]] {
			i++
		}
		if i == start {
			return -1
		}
	}
	t.at[p].end, t.at[p].next = int32(i), int32(len(t.at)) //nolint:gosec // at most maxDecompressed
	return i
}

// ends is what a number or a literal ends at.
var ends = [256]bool{',': true, '}': true, ']': true, ' ': true, '\t': true, '\n': true, '\r': true, ':': true, '"': true}

func (t *tape) object(i int) int {
	if i = t.space(i); i < len(t.raw) && t.raw[i] == '}' {
		return i + 1
	}
	for {
		start := t.space(i)
		if start >= len(t.raw) || t.raw[start] != '"' {
			return -1
		}
		end := t.text(start)
		if end < 0 {
			return -1
		}
		if i = t.space(end); i >= len(t.raw) || t.raw[i] != ':' {
			return -1
		}
		if i = t.value(t.space(i+1), start, end); i < 0 {
			return -1
		}
		if i = t.space(i); i >= len(t.raw) {
			return -1
		}
		switch t.raw[i] {
		case '}':
			return i + 1
		case ',':
			i++
		default:
			return -1
		}
	}
}

func (t *tape) list(i int) int {
	if i = t.space(i); i < len(t.raw) && t.raw[i] == ']' {
		return i + 1
	}
	for {
		if i = t.value(t.space(i), 0, 0); i < 0 {
			return -1
		}
		if i = t.space(i); i >= len(t.raw) {
			return -1
		}
		switch t.raw[i] {
		case ']':
			return i + 1
		case ',':
			i++
		default:
			return -1
		}
	}
}

// text gives the index behind the string that starts at i.
func (t *tape) text(i int) int {
	for i++; i < len(t.raw); i++ {
		switch t.raw[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

func (t *tape) space(i int) int {
	for i < len(t.raw) && (t.raw[i] == ' ' || t.raw[i] == '\n' || t.raw[i] == '\t' || t.raw[i] == '\r') {
		i++
	}
	return i
}

// bytes is a value as it is written.
func (t *tape) bytes(at int32) []byte { return t.raw[t.at[at].start:t.at[at].end] }

// name is the name in front of a value.
func (t *tape) name(at int32) []byte {
	p := &t.at[at]
	return unquote(t.raw[p.nameStart:p.nameEnd])
}

// kind is the first byte of a value.
func (t *tape) kind(at int32) byte { return t.raw[t.at[at].start] }

// first is the first member or item of a value, which after steps on from;
// both give none behind the last.
func (t *tape) first(of int32) int32 {
	if of+1 < t.at[of].next {
		return of + 1
	}
	return none
}

func (t *tape) after(of, at int32) int32 {
	if n := t.at[at].next; n < t.at[of].next {
		return n
	}
	return none
}

// same tells whether two values that are not written alike are equal: members
// may come in another order, and characters may be escaped.
func same(a, b []byte) bool {
	if k := a[0]; k != '{' && k != '[' {
		return k == '"' && b[0] == '"' && bytes.Equal(unquote(a), unquote(b))
	}
	var x, y any
	return decodeValue(a, &x) == nil && decodeValue(b, &y) == nil && reflect.DeepEqual(x, y)
}

func decodeValue(raw []byte, into *any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return dec.Decode(into)
}

// appendCanonical appends a value in a form that is the same for equal values.
func appendCanonical(b, raw []byte) []byte {
	switch raw[0] {
	case '"':
		if bytes.IndexByte(raw, '\\') < 0 {
			return append(b, raw...)
		}
		b, _ = jsontext.AppendQuote(b, unquote(raw)) // an error tells of invalid UTF-8, which is replaced
		return b
	case '{', '[':
		var v any
		if decodeValue(raw, &v) == nil {
			if out, err := json.Marshal(v); err == nil {
				return append(b, out...)
			}
		}
	}
	return append(b, raw...)
}
