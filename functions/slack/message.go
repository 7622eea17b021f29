package slack

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackutilsx"

	"github.com/kwatchman/kwatchman/event"
)

// Limits in characters. Slack documents 3000 for a text and 300 for a footer;
// the others keep a message readable.
const (
	maxText   = 3000
	maxFooter = 300
	maxTitle  = 300
	maxField  = 300
	frame     = 40 // of maxText, for what is around the text in a code block
	minPart   = 80 // no line is shortened to less
)

// message is a change as one attachment: it has a colour at its side, and long
// text folds.
func message(e *event.Event, cluster string) *slack.WebhookMessage {
	title, fallback := e.Title(), e.Title()
	if e.Diff != nil && e.Diff.Summary != "" {
		fallback += ": " + e.Diff.Summary // what a notification shows
	}
	a := slack.Attachment{
		Color:    map[event.Action]string{event.Add: "#2eb67d", event.Update: "#ecb22e", event.Delete: "#e01e5a"}[e.Action],
		Fallback: line(fallback, maxTitle),
		Title:    line(title, maxTitle),
		Footer:   line(cluster, maxFooter),
		Ts:       json.Number(strconv.FormatInt(e.Time.Unix(), 10)),
	}
	if text := strings.Trim(clean(e.Payload.Text()), "\n"); text != "" {
		a.Text, a.MarkdownIn = codeBlock(text, maxText-frame), []string{"text"}
	} else {
		a.Text = line(withoutPayload(e), maxText)
	}
	if who := e.Who(); who != "" {
		a.Fields = []slack.AttachmentField{{Title: "Changed by", Value: line(who, maxField), Short: true}}
	}
	return &slack.WebhookMessage{Attachments: []slack.Attachment{a}}
}

func withoutPayload(e *event.Event) string {
	if e.Diff != nil && e.Diff.Summary != "" {
		return e.Diff.Summary
	}
	done := map[event.Action]string{event.Add: "added", event.Update: "updated", event.Delete: "deleted"}[e.Action]
	return "The object was " + done + ". The event carries no payload: a diff function before this one adds it."
}

var backticks = regexp.MustCompile("`{3,}")

// codeBlock shows at most limit characters of text in a code block, and says
// below it how many lines did not fit.
func codeBlock(text string, limit int) string {
	// Three backticks would end the block; with a character of no width
	// between them they look the same.
	text = backticks.ReplaceAllStringFunc(text, func(run string) string {
		return strings.Join(strings.Split(run, ""), "\u200b")
	})
	kept, omitted, shortened := cut(text, limit)
	out := "```\n" + kept + "\n```"
	switch {
	case omitted == 1:
		out += "\n… 1 more line"
	case omitted > 1:
		out += fmt.Sprintf("\n… %d more lines", omitted)
	case shortened:
		out += "\n… the last line is longer"
	}
	return out
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
