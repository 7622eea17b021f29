package exec

import (
	"errors"
	"strings"
)

// split divides a command into words at spaces, as a shell does, but expands
// nothing: '…' keeps all within it, "…" all but \" and \\, a backslash what comes
// next.
func split(text string) ([]string, error) {
	if strings.ContainsRune(text, 0) {
		return nil, errors.New("bad value: holds a NUL")
	}
	var words []string
	var word strings.Builder
	begun, quote := false, rune(0)
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == '\\' && quote != '\'':
			if i++; i == len(runes) {
				return nil, errors.New("bad value: ends with a backslash")
			}
			if quote == '"' && runes[i] != '"' && runes[i] != '\\' {
				word.WriteRune('\\')
			}
			word.WriteRune(runes[i])
			begun = true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case quote == 0 && strings.ContainsRune(" \t\r\n", r):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if quote != 0 {
		return nil, errors.New("bad value: a quote has no end")
	}
	if begun {
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("bad value: want a program")
	}
	return words, nil
}
