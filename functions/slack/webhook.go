package slack

import (
	"context"
	"net/http"

	"github.com/slack-go/slack"

	"github.com/kwatchman/kwatchman/event"
)

// webhookPoster posts to the one channel of an incoming webhook.
type webhookPoster struct {
	url    string // a secret: no error and no log line may hold it
	client *http.Client
}

func (p *webhookPoster) send(ctx context.Context, _ *event.Event, m *message) error {
	return failure("post to Slack", slack.PostWebhookCustomHTTPContext(ctx, p.url, p.client, &slack.WebhookMessage{
		Text:        m.text,
		Blocks:      &slack.Blocks{BlockSet: m.blocks},
		UnfurlLinks: new(false),
		UnfurlMedia: new(false),
	}))
}
