package log

import (
	"unicode"

	"golang.org/x/text/width"
)

// tabStop is how far a tab may reach.
const tabStop = 8

// columns is how much room a character takes on a terminal.
func columns(r rune) int {
	switch {
	case r == '\t':
		return tabStop
	case r < 0x300: // nearly every one, and the tables are slow
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func columnsOf(text string) int {
	n := 0
	for _, r := range text {
		n += columns(r)
	}
	return n
}

// fit is as much of text as has room in so many columns.
func fit(text string, room int) string {
	for i, r := range text {
		if room -= columns(r); room < 0 {
			return text[:i]
		}
	}
	return text
}
