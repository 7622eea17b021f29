// Package webhook is the function that calls an HTTP API for each event: a
// request of templates, with presets for well-known services. The event
// continues unchanged once the endpoint has accepted it, or as the endpoint
// answers, if that is a handler.
package webhook

import (
	"context"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// Config is what webhook reads from WEBHOOK_*. URL, Headers and Body are Go
// templates over the event; see template.go.
type Config struct {
	// Preset is a service whose request is known; what else is set goes over it.
	Preset string `split_words:"true" desc:"alertmanager, discord, github, grafana, handler, json, mattermost, pagerduty or teams"`
	// URL is where the request goes. It may be a secret as a whole.
	URL    string `split_words:"true" key:"endpoint" desc:"template of the URL, may be a secret; required, but for pagerduty"`
	Method string `split_words:"true" desc:"method of the request; unset: the preset's, POST"`
	// Headers are templates, "Name: value", one a line.
	Headers string `split_words:"true" desc:"headers, Name: template, one a line"`
	Body    string `split_words:"true" desc:"template of the body; unset: the preset's"`
	// Token is a credential: a template's .Token, else a header Authorization.
	Token string `split_words:"true" desc:"a secret: .Token in templates, or else a header Authorization: Bearer"`
	// TokenFile is read for each request, so that a new one is used at once.
	TokenFile string `split_words:"true" desc:"file that holds the token, read for each request"`
	// CredentialsDir has a file for each further credential.
	CredentialsDir string `split_words:"true" desc:"folder of further secrets, a file each: {{ credential \"name\" }}"`
	// Success are the status codes that mean accepted: numbers and ranges.
	Success []string `split_words:"true" desc:"status codes that mean accepted, such as 200,202 or 200-299"`
	// Reply is "ignore", or "handler" for an endpoint whose answer decides.
	Reply   string        `split_words:"true" desc:"ignore, or handler: the answer is one of the handler protocol, also as plain JSON"`
	Timeout time.Duration `split_words:"true" desc:"time for one request"`
	// AllowHosts are where requests may go; empty: the host that stands in URL.
	AllowHosts []string `split_words:"true" desc:"hosts that requests may go to: name, name:port, *.name (the one in the URL)"`
	// AllowLocal lets requests go to this machine and to link-local addresses,
	// where clouds keep credentials.
	AllowLocal bool `split_words:"true" desc:"true: loopback and link-local addresses are allowed"`
}

// Default is what holds where nothing is set.
func Default() Config {
	return Config{Preset: "json", Success: []string{"200-299"}, Reply: "ignore", Timeout: 10 * time.Second}
}

// New checks the templates with sample events and returns the function. A
// setting that is missing or cannot be used is an error that shows no secret.
func New(cfg Config) (event.Handler, error) {
	c, err := newCaller(cfg)
	if err != nil {
		return nil, err
	}
	if err := c.try(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, e event.Event) (*event.Event, error) {
		r, err := c.request(&e)
		if err != nil {
			return nil, event.Permanent(err)
		}
		if would, ok := event.Rehearsing(ctx); ok {
			would(r.String())
			return &e, nil
		}
		return c.call(ctx, r, &e)
	}, nil
}
