package event

// maxNesting is how deep encoding/json goes into a value.
const maxNesting = 10000

// scanner checks JSON and finds where its values begin and end. It stands
// beside encoding/json because a manifest is checked once on its way in and
// once on its way out of every process, and encoding/json, which goes byte by
// byte through a function, takes ten times as long for it.
//
// It accepts just what json.Valid accepts (FuzzScan compares them). What it
// refuses goes to encoding/json, which words the error. This package imports the
// standard library only, which has a tokenizer of its own from Go 1.27 on
// (encoding/json/jsontext): that one should take its place.
type scanner struct {
	b     []byte
	i     int // the next byte
	depth int
	// spaced tells that there was white space between the tokens.
	spaced bool
}

// isCompact tells whether raw is valid JSON without white space between its
// tokens, so that it may be sent as it is.
func isCompact(raw []byte) bool {
	s := scanner{b: raw}
	return s.value() && s.i == len(raw) && !s.spaced
}

// end tells whether nothing but white space is left.
func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// next is the next byte, 0 at the end, which begins nothing.
func (s *scanner) next() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// space passes over white space, of which there is hardly ever any.
func (s *scanner) space() {
	if s.i < len(s.b) && s.b[s.i] <= ' ' {
		s.spaces()
	}
}

func (s *scanner) spaces() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
			s.spaced = true
		default:
			return
		}
	}
}

// value passes over one value, which begins here.
func (s *scanner) value() bool {
	switch s.next() {
	case '"':
		_, ok := s.text()
		return ok
	case '{':
		return s.object(nil)
	case '[':
		return s.list(nil)
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

func (s *scanner) word(w string) bool {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return false
	}
	s.i += len(w)
	return true
}

// object passes over an object. member, if not nil, passes over the value of
// each member; it learns where its name stands and whether that is plain.
func (s *scanner) object(member func(begin, end int, plain bool) bool) bool {
	if s.open('}') {
		return true
	}
	for s.depth <= maxNesting && s.next() == '"' {
		begin := s.i + 1
		plain, ok := s.text()
		if !ok {
			return false
		}
		end := s.i - 1
		s.space()
		if s.next() != ':' {
			return false
		}
		s.i++
		s.space()
		if member == nil {
			ok = s.value()
		} else {
			ok = member(begin, end, plain)
		}
		if !ok {
			return false
		}
		if more, ok := s.more('}'); !more {
			return ok
		}
	}
	return false
}

// list passes over a list, each value of it by item if that is not nil.
func (s *scanner) list(item func() bool) bool {
	if s.open(']') {
		return true
	}
	for s.depth <= maxNesting && (item == nil && s.value() || item != nil && item()) {
		if more, ok := s.more(']'); !more {
			return ok
		}
	}
	return false
}

// open passes over an opening bracket and tells whether nothing is in it.
func (s *scanner) open(closing byte) (empty bool) {
	s.i++
	s.space()
	if s.next() == closing && s.depth < maxNesting {
		s.i++
		return true
	}
	s.depth++
	return false
}

// more passes over a comma, or over the closing bracket, behind which there is
// no more; anything else is not ok.
func (s *scanner) more(closing byte) (more, ok bool) {
	s.space()
	switch s.next() {
	case ',':
		s.i++
		s.space()
		return true, true
	case closing:
		s.i++
		s.depth--
		return false, true
	}
	return false, false
}
