package diff

import (
	"strconv"
	"strings"
)

// path leads from the root of a manifest to a value. Its elements are keys
// (string) and indexes (int).
type path []any

// String is the path for people: spec.containers[0].image, with keys that are
// more than letters, digits, - and _ in quotes: data["app.conf"].
func (p path) String() string {
	var b strings.Builder
	for _, element := range p {
		switch e := element.(type) {
		case int:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(e))
			b.WriteByte(']')
		case string:
			if !isWord(e) {
				b.WriteByte('[')
				b.WriteString(quote(e))
				b.WriteByte(']')
				continue
			}
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(e)
		}
	}
	return b.String()
}

func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isLetter(c) && !isDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
