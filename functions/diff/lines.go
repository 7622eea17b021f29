package diff

import "strings"

// isLines tells whether a string is text of lines: more than line breaks alone.
func isLines(s string) bool {
	return strings.Contains(s, "\n") && strings.Trim(s, "\n") != ""
}

// lines writes a string of several lines, each on a line of its own: as it is
// where every character of it shows, else quoted. peer decides with it, so
// that one odd character does not make every other line look changed.
func (w *yamlWriter) lines(s string, peer any, indent int) {
	other, ok := peer.(string)
	if shows(s) && (!ok || !isLines(other) || shows(other)) {
		w.literal(s, indent)
		return
	}
	w.quotedLines(s, indent)
}

// shows tells whether every rune of s may stand in a literal block. Even a tab
// may not: it is a control character, and one that looks like spaces.
func shows(s string) bool {
	for _, r := range s {
		if r != '\n' && !isPrint(r) {
			return false
		}
	}
	return true
}

// literal writes a literal block. The number in its header is needed where the
// first line begins with white space, the sign says which line breaks end it.
func (w *yamlWriter) literal(s string, indent int) {
	w.WriteByte('|')
	if strings.IndexByte(" \t\n", s[0]) >= 0 {
		w.WriteByte('2')
	}
	body, ended := strings.CutSuffix(s, "\n")
	switch {
	case !ended:
		w.WriteByte('-')
	case strings.HasSuffix(body, "\n"):
		w.WriteByte('+')
	}
	w.WriteByte('\n')
	for line := range strings.SplitSeq(body, "\n") {
		if line != "" {
			w.indent(indent)
			w.WriteString(line)
		}
		w.WriteByte('\n')
	}
}

// quotedLines writes a quoted scalar with an escaped line break after each
// line. White space behind such a break is indentation, so a line's own first
// blank is escaped.
func (w *yamlWriter) quotedLines(s string, indent int) {
	w.WriteString("\"")
	for line := range strings.SplitAfterSeq(s, "\n") {
		if line == "" {
			break // s ends with a line break
		}
		w.WriteString("\\\n")
		w.indent(indent)
		if line[0] == ' ' {
			w.WriteByte('\\')
		}
		escape(&w.Builder, line)
	}
	w.WriteString("\"\n")
}
