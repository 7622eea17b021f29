package diff

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// scalar is a string on one line of YAML: as it is where a YAML reader takes
// it for that same string, else quoted.
func scalar(s string) string {
	if isPlain(s) {
		return s
	}
	return quote(s)
}

// quote is a string in double quotes with escapes that YAML reads and, but for
// runes beyond U+FFFF that do not print, JSON as well.
func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	escape(&b, s)
	b.WriteByte('"')
	return b.String()
}

func escape(b *strings.Builder, s string) {
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case isPrint(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r > 0xffff:
			_, _ = fmt.Fprintf(b, `\U%08X`, r)
		default:
			_, _ = fmt.Fprintf(b, `\u%04X`, r)
		}
	}
}

// isPrint tells whether a rune shows as itself: no control character, no line
// or paragraph separator, no white space but the blank, nothing that turns the
// direction of the text around it.
func isPrint(r rune) bool { return strconv.IsPrint(r) }

// numeric matches what readers of YAML 1.1 or 1.2 may take for a number or a
// time.
var numeric = regexp.MustCompile(`^(` +
	`[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?` + // 12, 1_000, 1.5, 1e3
	`|[-+]?\.[0-9_]+([eE][-+]?[0-9]+)?` + // .5
	`|[-+]?0[xob][0-9a-fA-F_]+` + // 0x1f, 0o17, 0b1
	`|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?` + // 1:30:00
	`|[-+]?\.(inf|Inf|INF|nan|NaN|NAN)` +
	`|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*` + // 2026-11-22T08:00:00Z
	`)$`)

// isPlain tells whether a string may stand without quotes. It errs on the side
// of quotes.
func isPlain(s string) bool {
	if s == "" || len(s) <= len("false") && isKeyword(s) {
		return false
	}
	switch c := s[0]; {
	case isDigit(c) || c == '+' || c == '-' || c == '.':
		if numeric.MatchString(s) || strings.Trim(s, "-.") == "" || strings.HasPrefix(s, "- ") {
			return false
		}
	case strings.IndexByte("?:,[]{}#&*!|>'\"%@`=~< ", c) >= 0:
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == ':' && (i+1 == len(s) || s[i+1] == ' '), c == '#' && s[i-1] == ' ':
			return false
		case c < 0x20 || c == 0x7f:
			return false
		case c >= 0x80:
			return s[len(s)-1] != ' ' && isPlainWide(s)
		}
	}
	return s[len(s)-1] != ' '
}

// isPlainWide is the rest of isPlain for strings beyond ASCII.
func isPlainWide(s string) bool {
	return shows(s) && !strings.Contains(s, ": ") && !strings.Contains(s, " #") && !strings.HasSuffix(s, ":") &&
		!strings.Contains(s, "\n")
}

// isKeyword knows the words that are no strings in YAML 1.1 or 1.2.
func isKeyword(s string) bool {
	switch strings.ToLower(s) {
	case "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return true
	}
	return false
}
