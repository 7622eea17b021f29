package chain

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// What becomes of a change, as its span says.
const (
	delivered    = "delivered"
	stopped      = "stopped"
	deadLettered = "dead_letter"
	lost         = "lost"
)

// maySend ends the whole chain's work once another process may send.
func (c *Chain) maySend(ctx context.Context, _ *turn) (context.Context, verdict) {
	if c.cfg.Holds != nil && !c.cfg.Holds() {
		c.queue.shutDown()
		return ctx, verdict{action: brokenOff}
	}
	return ctx, verdict{}
}

// resume lets a delivery begin where an earlier chain or process has come to.
func (c *Chain) resume(ctx context.Context, t *turn) (context.Context, verdict) {
	c.restore(t.delivery)
	return ctx, verdict{}
}

// admit asks the step's breaker for an attempt. Each stage between it and attempt
// that ends the turn gives that back.
func (c *Chain) admit(ctx context.Context, t *turn) (context.Context, verdict) {
	admitted, wait := c.steps[t.step].breaker.admit()
	if wait > 0 {
		return ctx, sleepFor(wait)
	}
	t.admitted = admitted
	return ctx, verdict{}
}

// input loads what the step that is next gets, unless the step before has just
// answered it. Where what is kept cannot be read, the change begins anew, rather
// than being lost: some steps get it twice. That is done once, so that a disk that
// is broken does not have them get it for ever.
func (c *Chain) input(ctx context.Context, t *turn) (context.Context, verdict) {
	if t.event != nil {
		return ctx, verdict{}
	}
	e, err := c.load(t.delivery)
	if err == nil {
		t.event = e
		return ctx, verdict{}
	}
	c.steps[t.step].breaker.settle(t.admitted, false)
	if t.kept && !t.restarted {
		id, subject := t.item.Name()
		c.log.WarnContext(ctx, "kept input cannot be read, the change begins at the first step again",
			"id", id, "subject", subject, "step", c.steps[t.step].name, "error", err)
		t.restart()
		return ctx, verdict{action: again}
	}
	c.report(ctx, t.delivery, nil, err, "") // there is nothing to put into the dead letter
	return ctx, verdict{action: end}
}

// inTrace puts the stages behind it into the change's trace.
func (c *Chain) inTrace(ctx context.Context, t *turn) (context.Context, verdict) {
	return t.trace.Context(ctx, t.event), verdict{}
}

// record tells of each event before its first attempt.
func (c *Chain) record(ctx context.Context, t *turn) (context.Context, verdict) {
	if c.recorder != nil && t.step == 0 && t.attempts == 0 {
		c.recorder(ctx, t.event)
	}
	return ctx, verdict{}
}

// attempt makes one request. Of a success it makes what is next, the following
// step or the end; a failure is for retry.
func (c *Chain) attempt(ctx context.Context, t *turn) (context.Context, verdict) {
	s := c.steps[t.step]
	t.attempts++
	keeper := c.keepIfSlow(t)
	next, err := s.call(ctx, t.event, t.attempts)
	t.kept = keeper.stop() || t.kept
	if f, ok := errors.AsType[*failure](err); ok && f.pause > 0 {
		s.breaker.pause(f.pause)
	} else {
		s.breaker.settle(t.admitted, err == nil)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx, verdict{action: brokenOff}
	case err != nil:
		t.err = err
		return ctx, verdict{}
	case next == nil && !s.sink:
		return ctx, c.succeed(t, stopped)
	case next == nil:
		return ctx, c.succeed(t, delivered)
	}
	t.event = next
	if t.step == len(c.steps)-1 {
		return ctx, c.succeed(t, delivered)
	}
	t.advance()
	return ctx, verdict{action: again}
}

// succeed is the end of an item that is delivered, or stopped by a step.
func (c *Chain) succeed(t *turn, outcome string) verdict {
	t.trace.End(t.event, outcome, nil)
	c.delivered.Add(1)
	c.cfg.Metrics.Delivered(time.Since(t.since))
	return verdict{action: end}
}

// retry decides what comes after a failed attempt: a pause that the endpoint has
// asked for, which costs none of RetryMax, the next attempt after exponential
// backoff with jitter, or the dead letter. A permanent failure is not repeated.
func (c *Chain) retry(ctx context.Context, t *turn) (context.Context, verdict) {
	if f, ok := errors.AsType[*failure](t.err); ok && !f.permanent {
		if f.pause > 0 {
			return ctx, sleepFor(f.pause)
		}
		t.failures++
		if c.cfg.RetryMax == 0 || t.failures <= c.cfg.RetryMax {
			return ctx, sleepFor(c.backoff(t.failures))
		}
	}
	t.givenUp, t.failures = t.err, 0
	return ctx, verdict{action: again}
}

// backoff doubles from RetryWaitMin up to RetryWaitMax, of which a random half
// to the whole is waited.
func (c *Chain) backoff(failures int) time.Duration {
	wait := c.cfg.RetryWaitMin
	for range failures - 1 {
		if wait >= c.cfg.RetryWaitMax/2 {
			wait = c.cfg.RetryWaitMax
			break
		}
		wait *= 2
	}
	wait = min(wait, c.cfg.RetryWaitMax)
	return wait/2 + rand.N(wait/2+1) //nolint:gosec // jitter is no secret
}

// deadLetter puts a change that is given up into the dead letter, and tries again,
// without a limit, until that takes it. Without one it is an error line only.
func (c *Chain) deadLetter(ctx context.Context, t *turn) (context.Context, verdict) {
	if c.dead == nil {
		c.report(ctx, t.delivery, t.event, t.givenUp, "")
		return ctx, verdict{action: end}
	}
	name := c.dead.Name()
	err := c.dead.Put(ctx, c.letter(t.delivery, t.event))
	switch {
	case err == nil:
		c.report(ctx, t.delivery, t.event, t.givenUp, name)
		return ctx, verdict{action: end}
	case ctx.Err() != nil:
		return ctx, verdict{action: brokenOff}
	}
	if c.deadFails.Due() {
		id, _ := t.item.Name()
		c.log.WarnContext(ctx, "dead letter fails, the change stays in the queue", "id", id, "deadLetter", name, "error", err)
	}
	t.failures++
	return ctx, sleepFor(c.backoff(t.failures))
}

// extended is an event with the configured extensions.
func (c *Chain) extended(e *event.Event) *event.Event {
	if len(c.cfg.Extensions) == 0 {
		return e
	}
	out := *e
	out.Extensions = maps.Clone(e.Extensions)
	if out.Extensions == nil {
		out.Extensions = map[string]string{}
	}
	maps.Copy(out.Extensions, c.cfg.Extensions)
	return &out
}
