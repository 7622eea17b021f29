package slack

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	postTimeout = 10 * time.Second // less than the watcher waits for an answer
	apiURL      = "https://slack.com/api/"
)

// newDestination reads which of the two ways to Slack is set up. What a mounted
// secret holds may end with a line break.
func newDestination(cfg Config) (destination, error) {
	webhook, token, channel := strings.TrimSpace(cfg.WebhookURL), strings.TrimSpace(cfg.Token), strings.TrimSpace(cfg.Channel)
	switch {
	case webhook == "" && token == "" && channel == "":
		return nil, errors.New("SLACK_WEBHOOK_URL is not set: create an incoming webhook at https://api.slack.com/messaging/webhooks, or set SLACK_TOKEN and SLACK_CHANNEL")
	case webhook != "" && token != "":
		return nil, errors.New("SLACK_WEBHOOK_URL and SLACK_TOKEN are both set: want one of them")
	case webhook != "" && channel != "":
		return nil, errors.New("SLACK_CHANNEL is set with SLACK_WEBHOOK_URL: a webhook posts to its own channel; want SLACK_TOKEN to choose one")
	case webhook != "":
		if !isURL(webhook) {
			return nil, errors.New("SLACK_WEBHOOK_URL: bad value: want an absolute http or https URL")
		}
		return &webhookPoster{url: webhook, client: newClient(postTimeout)}, nil
	case token == "":
		return nil, errors.New("SLACK_CHANNEL is set and SLACK_TOKEN is not: want the token of a bot (xoxb-…)")
	case channel == "":
		return nil, errors.New("SLACK_TOKEN is set and SLACK_CHANNEL is not: want a channel such as #changes, or a template")
	case strings.ContainsFunc(token, notPrintable) || strings.HasPrefix(token, "xapp-"):
		return nil, errors.New("SLACK_TOKEN: bad value: want the token of a bot (xoxb-…)")
	}
	api := strings.TrimSpace(cfg.ApiURL)
	if api == "" {
		api = apiURL
	}
	if !isURL(api) {
		return nil, errors.New("SLACK_API_URL: bad value: want an absolute http or https URL")
	}
	return newBot(token, strings.TrimRight(api, "/")+"/", channel, cfg.Threads)
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Hostname() != "" && (u.Scheme == "http" || u.Scheme == "https")
}

func notPrintable(r rune) bool { return r <= ' ' || r > '~' }

func newClient(timeout time.Duration) *http.Client {
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
	}
	return &http.Client{
		Transport: bounded{transport},
		Timeout:   timeout,
		// Slack does not redirect, and where it would lead is not to be trusted
		// with a message.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
