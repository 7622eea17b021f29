package slack

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kwatchman/kwatchman/internal/seldom"
	"github.com/kwatchman/kwatchman/internal/templates"
)

// layout is how messages are made of events. It is safe for concurrent use.
type layout struct {
	cluster           string
	title, link, body lenient
}

func newLayout(cfg Config) (*layout, error) {
	l := &layout{cluster: cfg.ClusterName}
	for _, part := range []struct {
		variable, text string
		escaped        bool
		to             *lenient
	}{
		{"SLACK_TITLE", cfg.Title, true, &l.title},
		{"SLACK_LINK", cfg.Link, false, &l.link},
		{"SLACK_BODY", cfg.Body, true, &l.body},
	} {
		t, err := newTemplate(part.variable, part.text, part.escaped)
		if err != nil {
			return nil, err
		}
		part.to.template = t
	}
	return l, nil
}

// lenient is a template that may fail: then it gives nothing, and says so once
// in a while.
type lenient struct {
	template *templates.Template
	failed   seldom.Line
}

// text is the output, and whether there is one.
func (l *lenient) text(ctx context.Context, d templates.Data) (out string, ok bool) {
	if l.template == nil {
		return "", false
	}
	out, err := l.template.Text(d)
	if err != nil {
		if l.failed.Due() {
			slog.WarnContext(ctx, "a template fails; the message goes without it", "err", err, "subject", d.Text("Subject"))
		}
		return "", false
	}
	return strings.TrimSpace(clean(out)), true
}

// line is the output as one line, cut to what a title may be.
func (l *lenient) line(ctx context.Context, d templates.Data) string {
	out, _ := l.text(ctx, d)
	return cutMarkup(strings.Join(strings.Fields(out), " "), maxTitle)
}

// url is the output in a form that may stand in a link; anything but an
// absolute http or https URL is none.
func (l *lenient) url(ctx context.Context, d templates.Data) string {
	out, _ := l.text(ctx, d)
	if !isURL(out) || strings.ContainsFunc(out, unicode.IsSpace) {
		return ""
	}
	u, err := url.Parse(out)
	if err != nil {
		return ""
	}
	link := strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C").Replace(u.String())
	if utf8.RuneCountInString(link) > maxURL {
		return ""
	}
	return link
}
