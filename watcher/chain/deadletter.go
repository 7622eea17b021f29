package chain

import (
	"context"
	"encoding/base64"
	"errors"
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

// DeadLetter takes the events that are given up.
type DeadLetter interface {
	// Name is what logs call it, without what may be a secret.
	Name() string
	// Put keeps an event for good. After an error the event is still the
	// caller's, who tries again.
	Put(ctx context.Context, e *event.Event) error
}

// letter is the input of the step that failed, with what is known of that.
func (c *Chain) letter(d *delivery, e *event.Event) *event.Event {
	s, code, text := c.steps[d.step], noAnswer, d.givenUp.Error()
	if f, ok := errors.AsType[*failure](d.givenUp); ok && f.status > 0 {
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
		outcome = deadLettered
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
		c.restore(d) // it may be that nobody has worked on it
		if d.givenUp == nil {
			d.givenUp = errStopped
		}
		in := ""
		var e *event.Event
		if letter := c.dead; letter != nil && ctx.Err() == nil {
			var err error
			if e, err = c.load(d); err == nil && letter.Put(ctx, c.letter(d, e)) == nil {
				in = letter.Name()
			}
		}
		c.report(ctx, d, e, d.givenUp, in)
		d.item.Done()
	}
}
