// Package slack is the function that posts every change to a Slack channel:
// with an incoming webhook, or with the token of a bot, which can choose the
// channel by the event, joins the messages about one object to a thread and
// uploads what is too long for a message. The event continues unchanged once
// Slack has accepted the message.
//
// The function keeps no state. What was posted before is read from the channel.
package slack

import (
	"context"

	"github.com/kwatchman/kwatchman/event"
)

// Config is what slack reads from SLACK_*. Templates are Go templates over the
// event; see template.go.
type Config struct {
	// WebhookURL is the incoming webhook of the channel, an absolute http or
	// https URL. It is a secret: whoever has it can post.
	WebhookURL string `split_words:"true" desc:"incoming webhook of the channel, a secret; this, or token and channel, is required"`
	// Token is that of a bot, xoxb-…; a secret.
	Token string `split_words:"true" desc:"token of a bot (xoxb-…), a secret, in place of the webhook"`
	// Channel is where the bot posts: a template that gives a name or an id.
	Channel string `split_words:"true" desc:"channel for the token: a name or id, or a template such as #team-{{ .Object.metadata.labels.team }}"`
	// Threads joins the messages about one object.
	Threads bool `split_words:"true" desc:"with the token: messages about one object join a thread"`
	// Link is a template of the URL that the title leads to.
	Link string `split_words:"true" desc:"template of a URL that the title leads to"`
	// Title is a template in place of e.Title().
	Title string `split_words:"true" desc:"template of the title; unset: UPDATE Deployment shop/web"`
	// Body is a template in place of the summary and the payload.
	Body string `split_words:"true" desc:"template of the text, in Slack's mrkdwn; unset: the summary and the payload in a code block"`
	// ClusterName stands in the message instead of the cluster that the event
	// names.
	ClusterName string `split_words:"true" desc:"cluster name in the message; unset: the one of the event"`
	// ApiURL is where the token is sent to.
	ApiURL string `split_words:"true" desc:"Slack's API, for the token"` // APIURL is one word to envconfig
}

// Default is what holds where nothing is set.
func Default() Config { return Config{Threads: true, ApiURL: apiURL} }

// destination is where messages go.
type destination interface {
	// send posts the message about one event, if it is not there yet. Its error
	// says how the event is to be answered.
	send(ctx context.Context, e *event.Event, m *message) error
	// to says in words where send would post the message.
	to(m *message) (string, error)
}

// New returns the function. A setting that is missing or cannot be used is an
// error that shows no secret.
func New(cfg Config) (event.Handler, error) {
	l, err := newLayout(cfg)
	if err != nil {
		return nil, err
	}
	to, err := newDestination(cfg)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, e event.Event) (*event.Event, error) {
		m := l.message(ctx, &e)
		if would, ok := event.Rehearsing(ctx); ok {
			return &e, rehearse(to, m, would)
		}
		if err := to.send(ctx, &e, m); err != nil {
			return nil, err
		}
		return &e, nil
	}, nil
}
