package log

import (
	"bytes"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"unicode"

	"github.com/kwatchman/kwatchman/event"
)

// The colours, as parameters of the terminal's SGR sequence.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// page is an event in the making for people to read.
type page struct {
	b        *bytes.Buffer
	coloured bool
}

// event writes a title, the summary and the payload, and ends with an empty
// line if there was more than the title.
func (p page) event(e *event.Event) {
	p.title(e)
	before := p.b.Len()
	if e.Diff != nil && e.Diff.Summary != "" {
		p.b.WriteString("  " + oneLine(e.Diff.Summary) + "\n")
	}
	if text := strings.TrimRight(e.Payload.Text(), "\n"); text != "" {
		p.payload(e.Payload.ContentType, text)
	}
	if p.b.Len() > before {
		p.b.WriteByte('\n')
	}
}

// title says when, what, where and who:
// 2026-11-22 09:30:01 UPDATE Deployment shop/web prod-eu by kubectl-edit.
func (p page) title(e *event.Event) {
	colour := map[event.Action]string{event.Add: green, event.Update: yellow, event.Delete: red}[e.Action]
	name := e.Name
	if e.Namespace != "" {
		name = e.Namespace + "/" + name
	}
	p.paint(dim, e.Time.Local().Format("2006-01-02 15:04:05"))
	p.b.WriteByte(' ')
	p.paint(bold+";"+colour, strings.ToUpper(string(e.Action)))
	p.b.WriteByte(' ')
	p.paint(bold, oneLine(e.Kind+" "+name))
	p.b.WriteByte(' ')
	p.paint(dim, oneLine(e.Cluster))
	if who := e.Who(); who != "" {
		p.b.WriteString(" by " + oneLine(who))
	}
	if e.Via != event.ViaWatch {
		p.b.WriteByte(' ')
		p.paint(dim, "("+oneLine(e.Via)+")")
	}
	p.b.WriteByte('\n')
}

// payload indents the text and colours the lines of a diff.
func (p page) payload(contentType, text string) {
	mediaType, _, _ := mime.ParseMediaType(contentType) // anything odd is no diff
	isDiff, inHunk := mediaType == "text/x-diff", false
	for line := range strings.SplitSeq(text, "\n") {
		colour := ""
		switch {
		case !isDiff:
		case strings.HasPrefix(line, "@@"):
			colour, inHunk = cyan, true
		case !inHunk: // the names of the two sides begin with --- and +++
			colour = bold
		case strings.HasPrefix(line, "+"):
			colour = green
		case strings.HasPrefix(line, "-"):
			colour = red
		}
		p.b.WriteString("  ")
		p.paint(colour, printable(line))
		p.b.WriteByte('\n')
	}
}

// paint writes text, which must hold no control character, in a colour.
func (p page) paint(colour, text string) {
	if !p.coloured || colour == "" || text == "" {
		p.b.WriteString(text)
		return
	}
	fmt.Fprintf(p.b, "\x1b[%sm%s\x1b[0m", colour, text)
}

// isUnsafe tells of characters that a terminal obeys instead of showing them:
// ESC above all, which a manifest may hold, and those that reorder what is
// around them.
func isUnsafe(r rune) bool {
	if r < unicode.MaxASCII { // nearly every one, and the tables are slow
		return r < ' '
	}
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// printable shows unsafe characters as escapes, but for tabs.
func printable(s string) string { return escape(s, "\t") }

// oneLine is printable without tabs.
func oneLine(s string) string { return escape(s, "") }

func escape(s, keep string) string {
	if !strings.ContainsFunc(s, isUnsafe) {
		return strings.ToValidUTF8(s, "�")
	}
	var b strings.Builder
	for _, r := range s {
		if isUnsafe(r) && !strings.ContainsRune(keep, r) {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
