package filter

import "strings"

// CEL keeps the word namespace for itself (https://github.com/google/cel-spec,
// syntax, RESERVED) and refuses a variable of that name. Kubernetes calls it
// nothing else, so that the variable has another name inside, of the same
// length, for the columns of errors.
const (
	reserved = "namespace"
	inside   = "namespacE"
)

// allowReserved writes the name inside for each identifier namespace; fields of
// that name, strings and comments stay.
func allowReserved(expression string) string {
	var b strings.Builder
	for i := 0; i < len(expression); {
		n := token(expression[i:])
		if text := expression[i : i+n]; text == reserved && !isField(expression[:i]) {
			b.WriteString(inside)
		} else {
			b.WriteString(text)
		}
		i += n
	}
	return b.String()
}

// isField tells whether what comes next is the name of a field.
func isField(before string) bool {
	before = strings.TrimRight(before, " \t\r\n")
	return strings.HasSuffix(before, ".") || strings.HasSuffix(strings.ReplaceAll(before, " ", ""), ".?")
}

// token is the length of what begins a text: a string, a comment, a word, or a
// byte.
func token(text string) int {
	word := 0
	for word < len(text) && isLetter(text[word]) {
		word++
	}
	raw := word > 0 && word <= 2 && strings.Trim(strings.ToLower(text[:word]), "rb") == ""
	rest := text[word:]
	switch {
	case (word == 0 || raw) && rest != "" && (rest[0] == '"' || rest[0] == '\''):
		return word + quoted(rest, raw && strings.ContainsAny(text[:word], "rR"))
	case word > 0:
		return word
	case strings.HasPrefix(text, "//"):
		if end := strings.IndexByte(text, '\n'); end >= 0 {
			return end
		}
		return len(text)
	}
	return 1
}

// quoted is the length of the string that begins a text; one without an end goes
// on to the end of the text.
func quoted(text string, raw bool) int {
	quote := text[:1]
	if strings.HasPrefix(text, strings.Repeat(quote, 3)) {
		quote = text[:3]
	}
	for i := len(quote); i < len(text); i++ {
		switch {
		case text[i] == '\\' && !raw:
			i++
		case strings.HasPrefix(text[i:], quote):
			return i + len(quote)
		}
	}
	return len(text)
}

func isLetter(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
