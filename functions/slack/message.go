package slack

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/templates"
)

// Limits in characters. Slack documents 3000 for the text of a block; the
// others keep a message readable.
const (
	maxText  = 3000
	maxTitle = 300
	maxField = 300
	maxURL   = 2000
	frame    = 40 // of maxText, for what is around the text in a code block
	minPart  = 80 // no line is shortened to less
)

// message is a change as Slack is to show it.
type message struct {
	text   string // what a notification shows, and who cannot show blocks
	blocks []slack.Block
	cut    bool           // the payload did not fit
	data   templates.Data // what it was made of, for the channel's template
}

// message lays an event out: the title, where and by whom and when, the
// summary, the payload. What a template does not give is taken from the event,
// so that a mistake in one withholds no news.
func (l *layout) message(ctx context.Context, e *event.Event) *message {
	d := templates.NewData(e, cmp.Or(l.cluster, e.Cluster))
	title, markup := l.title.line(ctx, d), true
	if title == "" {
		title = line(e.Title(), maxTitle)
		markup = !strings.ContainsAny(title, "*_~`") // a name of these would format
	}
	m := &message{text: title, data: d}
	if s := summary(e, maxTitle); s != "" {
		m.text += ": " + s
	}
	m.blocks = append(m.blocks, titleBlock(e.Action, title, l.link.url(ctx, d), markup), contextBlock(d, e.Time))
	if body, ok := l.body.text(ctx, d); ok {
		if body != "" { // else the title says all
			shown, whole := cutBody(body, maxText-frame)
			m.blocks, m.cut = append(m.blocks, section(shown)), !whole
		}
		return m
	}
	s := summary(e, maxText)
	if s != "" {
		m.blocks = append(m.blocks, plain(s))
	}
	if text := strings.Trim(clean(e.Payload.Text()), "\n"); text != "" {
		block, whole := codeBlock(text, maxText-frame)
		m.blocks, m.cut = append(m.blocks, section(block)), !whole
	} else if s == "" {
		m.blocks = append(m.blocks, plain(withoutPayload(e)))
	}
	return m
}

// summary is the one of diff as an escaped line, empty without one.
func summary(e *event.Event, limit int) string {
	if e.Diff == nil {
		return ""
	}
	return line(e.Diff.Summary, limit)
}

func withoutPayload(e *event.Event) string {
	done := map[event.Action]string{event.Add: "added", event.Update: "updated", event.Delete: "deleted"}[e.Action]
	return "The object was " + done + ". The event carries no payload: a diff function before this one adds it."
}

// titleBlock is the title with a mark in the action's colour; in bold and
// linked, unless it has to be taken literally. title is escaped already.
func titleBlock(a event.Action, title, link string, markup bool) slack.Block {
	mark := map[event.Action]string{event.Add: "🟢 ", event.Update: "🟡 ", event.Delete: "🔴 "}[a]
	switch {
	case !markup && link == "":
		return plain(mark + title)
	case link != "":
		title = "<" + link + "|" + strings.ReplaceAll(title, "|", "¦") + ">"
	}
	return section(mark + "*" + title + "*")
}

// contextBlock is the small print: where, by whom and when, by the clock of who
// reads it.
func contextBlock(d templates.Data, at time.Time) slack.Block {
	at = at.UTC()
	when := fmt.Sprintf("<!date^%d^{date_short_pretty} {time_secs}|%s>", at.Unix(), at.Format(time.RFC3339))
	parts := []slack.MixedElement{small("cluster " + d.Text("Cluster"))}
	if ns := d.Text("Namespace"); ns != "" {
		parts = append(parts, small("namespace "+ns))
	}
	who := "by " + d.Text("Who")
	if d.Text("Who") == templates.NotRecorded {
		who = "by: " + templates.NotRecorded
	}
	parts = append(parts, small(who), slack.NewTextBlockObject(slack.MarkdownType, when, false, false))
	return slack.NewContextBlock("", parts...)
}

// small is literal text in a context block.
func small(text string) slack.MixedElement {
	return slack.NewTextBlockObject(slack.PlainTextType, line(text, maxField), false, false)
}

// plain is literal text, in which no character formats. text is escaped.
func plain(text string) slack.Block {
	return slack.NewSectionBlock(slack.NewTextBlockObject(slack.PlainTextType, text, false, false), nil, nil)
}

// section is text in Slack's mrkdwn, taken as it is: names of channels and
// addresses in it become no links.
func section(text string) slack.Block {
	return slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, text, false, true), nil, nil)
}
