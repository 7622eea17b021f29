package object

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// scanner walks along a JSON text, checks it, and gives its parts where they
// lie: a manifest is split without being decoded. Names may repeat and text may
// be no UTF-8, as encoding/json has it.
type scanner struct {
	dec *jsontext.Decoder
	raw []byte
}

var errMore = errors.New("more than one value")

// member is a part of an object, as it lies in the text.
type member struct {
	quoted []byte // the name as it is written
	name   []byte
	value  []byte
}

func newScanner() *scanner {
	return &scanner{dec: jsontext.NewDecoder(bytes.NewReader(nil), scanOptions()...)}
}

func scanOptions() []jsontext.Options {
	return []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}
}

func (s *scanner) reset(raw []byte) {
	s.raw = raw
	s.dec.Reset(bytes.NewBuffer(raw), s.dec.Options())
}

// next is the kind of the value that is next, as jsontext has it: { [ " 0 n t f,
// or } ] at an end.
func (s *scanner) next() jsontext.Kind { return s.dec.PeekKind() }

// token steps over one token, such as the opening of an object.
func (s *scanner) token() error {
	_, err := s.dec.ReadToken()
	return err
}

// value steps over the next value and gives it.
func (s *scanner) value() ([]byte, error) {
	v, err := s.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := s.dec.InputOffset()
	return s.raw[end-int64(len(v)) : end : end], nil
}

// name steps over the name of the next member; more is false behind the last.
func (s *scanner) name() (quoted, name []byte, more bool, err error) {
	if s.next() == '}' {
		return nil, nil, false, s.token()
	}
	if quoted, err = s.value(); err != nil {
		return nil, nil, false, err
	}
	return quoted, unquote(quoted), true, nil
}

// end checks that nothing follows.
func (s *scanner) end() error {
	switch err := s.token(); {
	case err == nil:
		return errMore
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// members splits an object into dst; ok is false if raw is something else.
func (s *scanner) members(dst []member, raw []byte) (all []member, ok bool, err error) {
	s.reset(raw)
	if s.next() != '{' {
		return dst, false, nil
	}
	if err := s.token(); err != nil {
		return dst, false, err
	}
	for {
		quoted, name, more, err := s.name()
		if err != nil || !more {
			return dst, err == nil, err
		}
		value, err := s.value()
		if err != nil {
			return dst, false, err
		}
		dst = append(dst, member{quoted, name, value})
	}
}

// unquote is the text of a valid JSON string.
func unquote(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	out, _ := jsontext.AppendUnquote(nil, quoted) // an error tells of invalid UTF-8, which is replaced
	return out
}

// sortMembers brings members into the order of their names; of two with one
// name the last stays.
func sortMembers(all []member) []member {
	slices.SortStableFunc(all, func(a, b member) int { return bytes.Compare(a.name, b.name) })
	out := all[:0]
	for i, m := range all {
		if i+1 < len(all) && bytes.Equal(m.name, all[i+1].name) {
			continue
		}
		out = append(out, m)
	}
	return out
}

// appendMembers writes an object of members, which are JSON already.
func appendMembers(b []byte, all []member) []byte {
	b = append(b, '{')
	for i, m := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, m.quoted...), ':')
		b = append(b, m.value...)
	}
	return append(b, '}')
}
