package slack

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack/slackutilsx"
)

const fence = "```"

var backticks = regexp.MustCompile("`{3,}")

// unfenced breaks runs of backticks, of which three would begin or end a code
// block; with a character of no width between them they look the same.
func unfenced(text string) string {
	return backticks.ReplaceAllStringFunc(text, func(run string) string {
		return strings.Join(strings.Split(run, ""), "\u200b")
	})
}

// codeBlock shows at most limit characters of text in a code block, and says
// below it how many lines did not fit.
func codeBlock(text string, limit int) (block string, whole bool) {
	kept, omitted, shortened := cut(unfenced(text), limit)
	return fence + "\n" + kept + "\n" + fence + leftOut(omitted, shortened), omitted == 0 && !shortened
}

// leftOut says how much of a text is missing.
func leftOut(omitted int, shortened bool) string {
	switch {
	case omitted == 1:
		return "\n… 1 more line"
	case omitted > 1:
		return fmt.Sprintf("\n… %d more lines", omitted)
	case shortened:
		return "\n… the last line is longer"
	}
	return ""
}

// cut escapes as many lines of text as fit in limit characters and counts the
// others. A line that would leave much room unused is itself shortened.
func cut(text string, limit int) (kept string, omitted int, shortened bool) {
	lines, long := strings.Split(text, "\n"), limit/2
	var b strings.Builder
	for i, l := range lines {
		escaped := slackutilsx.EscapeMessage(l)
		if i > 0 {
			escaped = "\n" + escaped
		}
		size := utf8.RuneCountInString(escaped)
		if size <= limit {
			b.WriteString(escaped)
			limit -= size
			continue
		}
		if size <= long || limit < minPart {
			return b.String(), len(lines) - i, false
		}
		if i > 0 {
			b.WriteByte('\n')
			limit--
		}
		b.WriteString(shorten(l, limit))
		return b.String(), len(lines) - i - 1, true
	}
	return b.String(), 0, false
}

// line is text as one escaped line of at most limit characters.
func line(text string, limit int) string {
	return shorten(strings.Join(strings.Fields(clean(text)), " "), limit)
}

// shorten escapes text and cuts it to at most limit characters, never inside
// of one nor inside of an escape, and marks the cut.
func shorten(text string, limit int) string {
	escaped := slackutilsx.EscapeMessage(text)
	if utf8.RuneCountInString(escaped) <= limit {
		return escaped
	}
	var b strings.Builder
	limit-- // for the mark
	for _, r := range text {
		c := slackutilsx.EscapeMessage(string(r))
		if limit -= utf8.RuneCountInString(c); limit < 0 {
			break
		}
		b.WriteString(c)
	}
	return b.String() + "…"
}

// cutBody shortens text in mrkdwn at the end of a line, or else where cutMarkup
// does, closes a code block that was open there, and says what is missing.
func cutBody(text string, limit int) (kept string, whole bool) {
	if utf8.RuneCountInString(text) <= limit {
		return text, true
	}
	kept = string([]rune(text)[:limit])
	if i := strings.LastIndexByte(kept, '\n'); i > len(kept)/2 {
		kept = kept[:i]
	} else {
		kept = cutMarkup(text, limit)
	}
	rest := text[min(len(kept), len(text)):]
	omitted := strings.Count(rest, "\n") - strings.Count(rest, "\n"+fence)
	if strings.Count(kept, fence)%2 == 1 {
		kept += "\n" + fence
	}
	return kept + leftOut(omitted, omitted == 0), false
}

// cutMarkup shortens text in mrkdwn to limit characters, never inside of an
// escape or of a link.
func cutMarkup(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	kept := string([]rune(text)[:limit-1])
	if i := strings.LastIndexByte(kept, '<'); i > strings.LastIndexByte(kept, '>') {
		kept = kept[:i]
	}
	if i := strings.LastIndexByte(kept, '&'); i > strings.LastIndexByte(kept, ';') {
		kept = kept[:i]
	}
	return strings.TrimRight(kept, "`") + "…"
}

// clean drops control characters, but for line breaks and tabs, and those that
// reorder what is around them.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, text)
}
