package event

import (
	"encoding/binary"
	"math/bits"
)

// text passes over a string; plain tells that it holds no escape.
func (s *scanner) text() (plain, ok bool) {
	plain = true
	for i := s.i + 1; ; {
		for i+8 <= len(s.b) {
			if m := special(binary.LittleEndian.Uint64(s.b[i:])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(s.b) {
			return false, false
		}
		switch c := s.b[i]; {
		case c == '"':
			s.i = i + 1
			return plain, true
		case c < 0x20:
			return false, false
		case c == '\\':
			n := escapeLen(s.b[i:])
			if n == 0 {
				return false, false
			}
			plain = false
			i += n
		default:
			i++ // among the last bytes, which are no whole word
		}
	}
}

// special marks the bytes of a word that are no plain content of a string:
// control characters, the quote, the backslash. The lowest mark is exact.
func special(w uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, escape := w^('"'*ones), w^('\\'*ones)
	return ((w-0x20*ones)&^w | (quote-ones)&^quote | (escape-ones)&^escape) & highs
}

// escapeLen is the length of the escape at the beginning of b, 0 for none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) >= 6 && isHex(b[2]) && isHex(b[3]) && isHex(b[4]) && isHex(b[5]) {
			return 6
		}
	}
	return 0
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (s *scanner) number() bool {
	if s.next() == '-' {
		s.i++
	}
	if s.next() == '0' {
		s.i++
	} else if !s.digits() {
		return false
	}
	if s.next() == '.' {
		s.i++
		if !s.digits() {
			return false
		}
	}
	if s.next()|0x20 == 'e' {
		s.i++
		if c := s.next(); c == '+' || c == '-' {
			s.i++
		}
		return s.digits()
	}
	return true
}

// digits passes over at least one digit.
func (s *scanner) digits() bool {
	begin := s.i
	for isDigit(s.next()) {
		s.i++
	}
	return s.i > begin
}
