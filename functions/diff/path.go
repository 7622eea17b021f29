package diff

import (
	"strconv"
	"strings"
)

// path leads from the root of a manifest to a value. Its elements are keys
// (string), what an item of a list is known by (label), indexes (int), numbers
// of lines (line), and the border of a document in a string (embedded).
type path []any

type embedded struct{}

// label is what people know an item of a list by: the name of a container.
type label string

// line is the number of a line in a text, from 1.
type line int

// maxLabel bounds a label, in runes.
const maxLabel = 100

// String is the path for people: spec.containers[app].image, with keys that
// are more than letters, digits, - and _ in quotes: data["app.conf"].
func (p path) String() string {
	var b strings.Builder
	for _, element := range p {
		switch e := element.(type) {
		case int:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(e))
			b.WriteByte(']')
		case line:
			b.WriteString("[line ")
			b.WriteString(strconv.Itoa(int(e)))
			b.WriteByte(']')
		case label:
			b.WriteByte('[')
			b.WriteString(e.String())
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

// String is the label as it stands in a path: in quotes unless it is one plain
// word, which an index is not.
func (l label) String() string {
	s := clipEnd(string(l), maxLabel)
	for i := range len(s) {
		c := s[i]
		if !isLetter(c) && !isDigit(c) && strings.IndexByte("-_./:*@+=,", c) < 0 {
			return quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
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
