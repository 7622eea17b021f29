package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// DecodeManifest reads a manifest with its numbers kept digit by digit as
// json.Number. No input and JSON null give nil.
func DecodeManifest(raw []byte) (map[string]any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	d := decoder{scanner: scanner{b: raw}, source: string(raw)}
	d.space()
	if d.next() == '{' {
		if v, ok := d.value(); ok && d.end() {
			return v.(map[string]any), nil //nolint:errcheck,forcetypeassert // it began with a brace
		}
	}
	return decodePlainly(raw)
}

// decodePlainly leaves to encoding/json what is no JSON object, or none that
// ends where the input ends.
func decodePlainly(raw []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("decode manifest: %s", jsonProblem(err))
	}
	if dec.More() {
		return nil, errors.New("decode manifest: more than one JSON value")
	}
	return m, nil
}

// decoder reads JSON as encoding/json does into an any, in half the time and
// with half the allocations: strings and numbers are slices of source.
type decoder struct {
	scanner
	source string // the same as scanner.b
	// names and values of the containers that are open, so that each gets the
	// room that it needs, once.
	names  []string
	values []any
}

func (d *decoder) value() (any, bool) {
	begin := d.i
	switch d.next() {
	case '"':
		plain, ok := d.text()
		if !ok {
			return nil, false
		}
		return d.string(begin+1, d.i-1, plain), true
	case '{':
		return d.object()
	case '[':
		return d.list()
	case 't':
		return true, d.word("true")
	case 'f':
		return false, d.word("false")
	case 'n':
		return nil, d.word("null")
	default:
		ok := d.number()
		return json.Number(d.source[begin:d.i]), ok
	}
}

// string is the one that stands, between its quotes, from begin to end.
func (d *decoder) string(begin, end int, plain bool) string {
	if plain {
		if s := d.source[begin:end]; utf8.ValidString(s) {
			return s
		}
	}
	return string(unescape(d.b[begin:end]))
}

func (d *decoder) object() (any, bool) {
	names, values := len(d.names), len(d.values)
	if !d.scanner.object(func(begin, end int, plain bool) bool {
		d.names = append(d.names, d.string(begin, end, plain))
		v, ok := d.value()
		d.values = append(d.values, v)
		return ok
	}) {
		return nil, false
	}
	m := make(map[string]any, len(d.names)-names)
	for i, name := range d.names[names:] {
		m[name] = d.values[values+i]
	}
	d.names, d.values = d.names[:names], d.values[:values]
	return m, true
}

func (d *decoder) list() (any, bool) {
	values := len(d.values)
	if !d.scanner.list(func() bool {
		v, ok := d.value()
		d.values = append(d.values, v)
		return ok
	}) {
		return nil, false
	}
	l := append(make([]any, 0, len(d.values)-values), d.values[values:]...)
	d.values = d.values[:values]
	return l, true
}
