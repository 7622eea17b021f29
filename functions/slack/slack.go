// Package slack is the function that posts every change to a Slack channel
// through an incoming webhook. The event continues unchanged once Slack has
// accepted the message.
package slack

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/kwatchman/kwatchman/event"
)

// Config is what slack reads from SLACK_*.
type Config struct {
	// WebhookURL is the incoming webhook of the channel, an absolute http or
	// https URL. It is required, and it is a secret: whoever has it can post.
	WebhookURL string `split_words:"true" desc:"incoming webhook of the channel, a secret; required"`
	// ClusterName stands in the footer instead of the cluster that the event
	// names.
	ClusterName string `split_words:"true" desc:"cluster name in the footer; unset: the one of the event"`
}

// New returns the function. A missing or malformed webhook URL is an error that
// does not show it.
func New(cfg Config) (event.Handler, error) {
	webhook := strings.TrimSpace(cfg.WebhookURL) // a mounted secret may end with a line break
	if webhook == "" {
		return nil, errors.New("SLACK_WEBHOOK_URL is not set: create an incoming webhook at https://api.slack.com/messaging/webhooks")
	}
	u, err := url.Parse(webhook)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("SLACK_WEBHOOK_URL: bad value: want an absolute http or https URL")
	}
	return handler(newPoster(webhook, postTimeout), cfg.ClusterName), nil
}

func handler(p *poster, clusterName string) event.Handler {
	return func(ctx context.Context, e event.Event) (*event.Event, error) {
		if err := p.post(ctx, message(&e, cmp.Or(clusterName, e.Cluster))); err != nil {
			return nil, err
		}
		return &e, nil
	}
}
