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
	b        bytes.Buffer
	coloured bool
	width    int     // columns of a line, 0 for any number
	line     []piece // what waits for the end of the line, which may be cut
}

type piece struct{ colour, text string }

// event writes a title, the summary and at most lines lines of the payload, and
// ends with an empty line if there was more than the title.
func (p *page) event(e *event.Event, lines int) {
	p.title(e)
	before := p.b.Len()
	if e.Diff != nil && e.Diff.Summary != "" {
		p.paint("", "  "+oneLine(e.Diff.Summary))
		p.end()
	}
	if text := strings.TrimRight(e.Payload.Text(), "\n"); text != "" {
		p.payload(e.Payload.ContentType, text, lines)
	}
	if p.b.Len() > before {
		p.end()
	}
}

// title says when, what, where and who:
// 2026-11-22 09:30:01 UPDATE Deployment shop/web prod-eu by kubectl-edit.
func (p *page) title(e *event.Event) {
	p.paint(dim, e.Time.Local().Format("2006-01-02 15:04:05"))
	p.what(e)
	p.paint("", " ")
	p.paint(dim, oneLine(e.Cluster))
	p.who(e)
	p.end()
}

// compact is an event in one line, without the cluster and the payload:
// 09:30:01 UPDATE Deployment shop/web by kubectl-edit: replicas 3 → 5.
func (p *page) compact(e *event.Event) {
	p.paint(dim, e.Time.Local().Format("15:04:05"))
	p.what(e)
	p.who(e)
	if e.Diff != nil && e.Diff.Summary != "" {
		p.paint("", ": "+oneLine(e.Diff.Summary))
	}
	p.end()
}

func (p *page) what(e *event.Event) {
	colour := map[event.Action]string{event.Add: green, event.Update: yellow, event.Delete: red}[e.Action]
	name := e.Name
	if e.Namespace != "" {
		name = e.Namespace + "/" + name
	}
	p.paint("", " ")
	p.paint(bold+";"+colour, strings.ToUpper(string(e.Action)))
	p.paint("", " ")
	p.paint(bold, oneLine(e.Kind+" "+name))
}

func (p *page) who(e *event.Event) {
	p.paint("", " "+oneLine(by(e)))
	if e.Via != event.ViaWatch {
		p.paint("", " ")
		p.paint(dim, "("+oneLine(e.Via)+")")
	}
}

// payload indents the text, colours the lines of a diff and says how many do
// not show.
func (p *page) payload(contentType, text string, lines int) {
	mediaType, _, _ := mime.ParseMediaType(contentType) // anything odd is no diff
	isDiff, inHunk, shown := mediaType == "text/x-diff", false, 0
	for line := range strings.SplitSeq(text, "\n") {
		if shown++; lines > 0 && shown > lines {
			p.paint(dim, "  "+moreLines(strings.Count(text, "\n")+1-lines))
			p.end()
			return
		}
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
		p.paint("", "  ")
		p.paint(colour, printable(line))
		p.end()
	}
}

func moreLines(n int) string {
	if n == 1 {
		return "… 1 more line"
	}
	return fmt.Sprintf("… %d more lines", n)
}

// paint adds text, which must hold no control character, in a colour.
func (p *page) paint(colour, text string) {
	if p.width == 0 {
		p.write(colour, text)
		return
	}
	p.line = append(p.line, piece{colour, text})
}

// end ends the line, cut if it has not the room.
func (p *page) end() {
	room := p.width
	for _, part := range p.line {
		room -= columnsOf(part.text)
	}
	left, cut := p.width-1, room < 0 // the last column marks the cut
	for _, part := range p.line {
		text := part.text
		if cut {
			text = fit(text, left)
			left -= columnsOf(text)
		}
		p.write(part.colour, text)
		if len(text) < len(part.text) {
			p.b.WriteString("…")
			break
		}
	}
	p.line = p.line[:0]
	p.b.WriteByte('\n')
}

func (p *page) write(colour, text string) {
	if !p.coloured || colour == "" || text == "" {
		p.b.WriteString(text)
		return
	}
	fmt.Fprintf(&p.b, "\x1b[%sm%s\x1b[0m", colour, text)
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
