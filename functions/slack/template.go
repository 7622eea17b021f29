package slack

import (
	"github.com/slack-go/slack/slackutilsx"

	template "github.com/DataDog/datadog-agent/pkg/template/text"

	"github.com/kwatchman/kwatchman/internal/templates"
)

// newTemplate reads a template from the setting called variable; escaped is one
// that gives Slack's mrkdwn.
func newTemplate(variable, text string, escaped bool) (*templates.Template, error) {
	o := templates.Options{Functions: template.FuncMap{"escape": escape}}
	if escaped {
		o.Output = "escape"
	}
	return templates.New(variable, text, o)
}

// escape is text that neither mentions, links nor ends a code block.
func escape(v any) string { return slackutilsx.EscapeMessage(unfenced(clean(templates.Text(v)))) }
