package diff

import (
	"fmt"
	"strings"

	"github.com/aymanbagabas/go-udiff/lcs"
)

// contextLines is how many unchanged lines stand around a change.
const contextLines = 3

// noFile stands in the header for the side that does not exist, as in git.
const noFile = "/dev/null"

// unified is the unified diff of the two manifests as YAML, at most limit
// bytes long when encoded as JSON.
func unified(subject string, old, new map[string]any, limit int) string {
	var before, after []string
	oldLabel, newLabel := printable(subject), printable(subject)
	switch {
	case old == nil:
		after, oldLabel = splitLines(renderYAML(new, nil)), noFile
	case new == nil:
		before, newLabel = splitLines(renderYAML(old, nil)), noFile
	default:
		o, n := renderBoth(old, new)
		before, after = splitLines(o), splitLines(n)
	}
	text := newCappedText(limit)
	text.line("--- ", oldLabel)
	text.line("+++ ", newLabel)
	for edits := lcs.DiffLines(before, after); len(edits) > 0; {
		n := inOneHunk(edits)
		text.hunk(before, after, edits[:n])
		edits = edits[n:]
	}
	return text.String()
}

func splitLines(s string) []string {
	lines := strings.Split(s, "\n")
	return lines[:len(lines)-1] // YAML ends with a line break
}

// inOneHunk is how many of the first edits are so close that the context of
// one touches that of the next.
func inOneHunk(edits []lcs.Diff) int {
	n := 1
	for n < len(edits) && edits[n].Start-edits[n-1].End <= 2*contextLines {
		n++
	}
	return n
}

// hunk writes edits with the lines around and between them. (The unified
// output of the diff library miscounts the new lines behind edits that share a
// hunk, so only its search for the edits is used.)
func (t *cappedText) hunk(old, new []string, edits []lcs.Diff) {
	first, last := edits[0], edits[len(edits)-1]
	lead := min(contextLines, first.Start)
	trail := min(contextLines, len(old)-last.End)
	t.line("@@ -", span(first.Start-lead, last.End+trail)+" +"+span(first.ReplStart-lead, last.ReplEnd+trail)+" @@")
	at := first.Start - lead
	for _, e := range edits {
		t.lines(" ", old[at:e.Start])
		t.lines("-", old[e.Start:e.End])
		t.lines("+", new[e.ReplStart:e.ReplEnd])
		at = e.End
	}
	t.lines(" ", old[at:at+trail])
}

// span is a range of lines in a hunk's header: the number of its first line
// and, unless it is 1, how many there are. An empty range names the line
// before it.
func span(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprint(from + 1)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

// printable replaces what could break the line of a header: the subject is
// path-escaped, but it comes from outside.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !isPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// cappedText is text of lines up to a limit; then it only counts lines.
type cappedText struct {
	b       strings.Builder
	room    int // bytes left, encoded as JSON
	omitted int
}

func newCappedText(limit int) *cappedText {
	return &cappedText{room: limit - len("… 1000000000 more lines") - len(`"\n"`)}
}

func (t *cappedText) lines(mark string, lines []string) {
	for _, line := range lines {
		t.line(mark, line)
	}
}

// line adds a line, which is cut if it is overlong.
func (t *cappedText) line(mark, line string) {
	if t.omitted == 0 {
		line = clipBytes(line, maxValue)
		t.room -= len(mark) + encodedString(line) // its quotes count for the line break
	}
	if t.room < 0 {
		t.omitted++
		return
	}
	t.b.WriteString(mark)
	t.b.WriteString(line)
	t.b.WriteByte('\n')
}

// String is the text, which ends by saying how many lines were left out.
func (t *cappedText) String() string {
	if t.omitted == 0 {
		return t.b.String()
	}
	return fmt.Sprintf("%s… %d more lines\n", t.b.String(), t.omitted)
}
