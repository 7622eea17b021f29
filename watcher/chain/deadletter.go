package chain

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// What a dead letter's event says besides its own attributes: Knative's three
// (https://knative.dev/docs/eventing/event-delivery/), and where in the chain
// it failed.
const (
	ErrorDest   = "knativeerrordest" // the step's scheme and host, or the function's name
	ErrorCode   = "knativeerrorcode" // its status; -1: no answer
	ErrorData   = "knativeerrordata" // the last error in base64
	FailedStep  = "kwatchmanstep"    // the step's place in the chain, from 1
	FailedTries = "kwatchmanattempts"
)

// maxErrorData is Knative's bound of knativeerrordata in characters.
const maxErrorData = 1024

// noAnswer is Knative's knativeerrorcode for an attempt that got none.
const noAnswer = -1

// bury puts an item that is given up into the dead letter, or lets its lane
// sleep until that may take it.
func (c *Chain) bury(ctx context.Context, d *delivery, e *event.Event) {
	if c.dead == nil {
		c.report(ctx, d, e, d.dead, "")
		c.finish(d)
		return
	}
	name := c.dead.Name()
	err := c.dead.Put(ctx, c.letter(d, e))
	switch {
	case err == nil:
		c.report(ctx, d, e, d.dead, name)
		c.finish(d)
	case ctx.Err() != nil: // broken off
	default:
		if c.said.Due() {
			id, _ := d.item.Name()
			c.log.WarnContext(ctx, "dead letter fails, the change stays in the queue", "id", id, "deadLetter", name, "error", err)
		}
		d.failures++
		c.park(d, e, c.backoff(d.failures))
	}
}

// letter is the input of the step that failed, with what is known of that.
func (c *Chain) letter(d *delivery, e *event.Event) *event.Event {
	s, code, text := c.steps[d.step], noAnswer, d.dead.Error()
	if f, ok := errors.AsType[*failure](d.dead); ok && f.status > 0 {
		code = f.status
	}
	data := base64.StdEncoding.EncodeToString([]byte(text[:min(len(text), maxErrorData*3/4)]))
	out := *d.trace.Carry(e) // of the change, not of the step before
	out.Extensions = maps.Clone(out.Extensions)
	if out.Extensions == nil {
		out.Extensions = map[string]string{}
	}
	maps.Copy(out.Extensions, map[string]string{
		ErrorDest: s.dest, ErrorCode: strconv.Itoa(code), ErrorData: data,
		FailedStep: strconv.Itoa(d.step + 1), FailedTries: strconv.Itoa(d.attempts),
	})
	return &out
}

// report logs a change that is not delivered; in is the dead letter that has
// it, if any. e is nil if the event could not be had.
func (c *Chain) report(ctx context.Context, d *delivery, e *event.Event, err error, in string) {
	outcome := lost
	if in != "" {
		outcome = buried
	}
	d.trace.End(e, outcome, err)
	c.givenUp.Add(1)
	c.cfg.Metrics.GivenUp(c.steps[d.step].name, in != "")
	id, subject := d.item.Name()
	attrs := []any{"id", id, "subject", subject, "step", c.steps[d.step].name, "attempts", d.attempts, "error", err}
	if in != "" {
		attrs = append(attrs, "deadLetter", in)
	}
	c.log.ErrorContext(d.trace.Context(ctx, e), "change not delivered", attrs...)
}

var errStopped = errors.New("the stop came first")

// loseTimeout is how long a stop may go on putting into the dead letter what
// ends with the process: Kubernetes kills some seconds after a stop's grace.
const loseTimeout = 3 * time.Second

// lose reports items that end with the process.
func (c *Chain) lose(all []*delivery) {
	ctx, cancel := context.WithTimeout(context.Background(), loseTimeout)
	defer cancel()
	for _, d := range all {
		if d.dead == nil {
			d.dead = errStopped
		}
		in := ""
		var e *event.Event
		if letter := c.dead; letter != nil && ctx.Err() == nil {
			var err error
			if e, err = c.input(d); err == nil && letter.Put(ctx, c.letter(d, e)) == nil {
				in = letter.Name()
			}
		}
		c.report(ctx, d, e, d.dead, in)
		d.item.Done()
	}
}

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
		return fmt.Errorf("%s", p.step.sanitize(err.Error()))
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
