package slack

import (
	"log/slog"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kwatchman/kwatchman/internal/seldom"
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
	template *textTemplate
	failed   seldom.Line
}

func (l *lenient) text(d data) string {
	if l.template == nil {
		return ""
	}
	out, err := l.template.text(d)
	if err != nil {
		if l.failed.Due() {
			slog.Warn("a template fails; the message goes without it", "err", err, "subject", d.text("Subject"))
		}
		return ""
	}
	return strings.TrimSpace(clean(out))
}

// line is the output as one line, cut to what a title may be.
func (l *lenient) line(d data) string {
	return cutMarkup(strings.Join(strings.Fields(l.text(d)), " "), maxTitle)
}

// url is the output in a form that may stand in a link; anything but an
// absolute http or https URL is none.
func (l *lenient) url(d data) string {
	out := l.text(d)
	if !isURL(out) || strings.ContainsFunc(out, unicode.IsSpace) || utf8.RuneCountInString(out) > maxURL {
		return ""
	}
	u, err := url.Parse(out)
	if err != nil {
		return ""
	}
	return strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C").Replace(u.String())
}
