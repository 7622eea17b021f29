package chain

import (
	"context"
	"errors"

	"github.com/kwatchman/kwatchman/event"
)

// Post is a dead letter at an endpoint.
type Post struct{ step *step }

// NewPost gives a dead letter that posts to a URL, with the chain's settings for
// certificates and time. The error does not show the URL: it may be a secret.
func (c *Chain) NewPost(url string) (*Post, error) {
	cfg := c.cfg
	cfg.Sink = true
	s, err := newStep(0, Target{URL: url}, cfg)
	if err != nil {
		return nil, err
	}
	return &Post{s}, nil
}

// Name is the URL's scheme and host.
func (p *Post) Name() string { return p.step.dest }

// Put posts the event; any 2xx is the end of it.
func (p *Post) Put(ctx context.Context, e *event.Event) error {
	_, _, err := p.step.attempt(ctx, e)
	if err != nil {
		return errors.New(p.step.sanitize(err.Error()))
	}
	return nil
}

// Check connects to the endpoint and sends nothing.
func (p *Post) Check(ctx context.Context) error {
	if err := p.step.connect(ctx); err != nil {
		return errors.New(p.step.sanitize(cause(err).Error()))
	}
	return nil
}

// Close ends what is kept open between two calls.
func (p *Post) Close() { p.step.close() }
