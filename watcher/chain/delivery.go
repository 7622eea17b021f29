package chain

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/tracing"
)

// delivery is an item on its way. It belongs to the worker that took its lane,
// else to the queue.
type delivery struct {
	item     Item
	lane     *lane           // set when it is added to the queue
	since    time.Time       // when it was queued
	first    int             // index of the step that the item's event is the input of
	step     int             // index of the step that is next
	kept     bool            // the item keeps the input of that step
	attempts int             // at that step
	failures int             // attempts that count for RetryMax, and then those at the dead letter
	dead     error           // why it is given up; it waits for the dead letter
	trace    *tracing.Change // nil: not begun, or nobody follows
}

// What becomes of a change, as its span says.
const (
	delivered = "delivered"
	stopped   = "stopped"
	buried    = "dead_letter"
	lost      = "lost"
)

// work delivers the first item of a lane as far as it gets.
func (c *Chain) work(ctx context.Context, d *delivery, busy *atomic.Int64) {
	var e *event.Event // input of the step that is next; built when it is needed
	var admitted generation
	for ctx.Err() == nil { // else Run reports what is left
		busy.Store(time.Now().UnixNano())
		if c.cfg.Holds != nil && !c.cfg.Holds() {
			c.queue.shutDown()
			return
		}
		if d.step == len(c.steps) {
			c.succeed(d, e, delivered)
			return
		}
		s := c.steps[d.step]
		if d.dead == nil {
			var wait time.Duration
			if admitted, wait = s.breaker.admit(); wait > 0 {
				c.park(d, e, wait)
				return
			}
		}
		if e == nil {
			var err error
			if e, err = c.input(d); err != nil { // nothing to put into the dead letter
				s.breaker.settle(admitted, false)
				c.report(ctx, d, e, err, "")
				c.finish(d)
				return
			}
		}
		ctx := d.trace.Context(ctx, e)
		if d.dead != nil {
			c.bury(ctx, d, e)
			return
		}
		if d.step == 0 && d.attempts == 0 && c.record != nil {
			c.record(ctx, e)
		}
		d.attempts++
		next, err := s.call(ctx, e, d.attempts)
		if f, ok := errors.AsType[*failure](err); ok && f.pause > 0 {
			s.breaker.pause(f.pause)
		} else {
			s.breaker.settle(admitted, err == nil)
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return // broken off
		case err != nil:
			if c.retry(d, e, err) {
				return
			}
			d.dead, d.failures = err, 0
		case next == nil:
			outcome := stopped
			if s.sink {
				outcome = delivered
			}
			c.succeed(d, e, outcome)
			return
		default:
			e = next
			d.advance()
		}
	}
}

// succeed is the end of an item that is delivered, or stopped by a step.
func (c *Chain) succeed(d *delivery, e *event.Event, outcome string) {
	d.trace.End(e, outcome, nil)
	c.delivered.Add(1)
	c.cfg.Metrics.Delivered(time.Since(d.since))
	c.finish(d)
}

// finish is the end of an item.
func (c *Chain) finish(d *delivery) {
	d.item.Done()
	c.queue.done(d)
}

// advance moves a delivery behind the step that took it.
func (d *delivery) advance() {
	if d.kept {
		d.item.Keep(nil)
		d.kept = false
	}
	d.step, d.attempts, d.failures = d.step+1, 0, 0
}

// input is the event for the step that is next.
func (c *Chain) input(d *delivery) (*event.Event, error) {
	if d.kept {
		kept, err := d.item.Kept()
		if err != nil {
			return nil, err
		}
		return unpack(kept, c.cfg.Decompress)
	}
	e, err := d.item.Event()
	if err != nil {
		return nil, err
	}
	e = c.extended(e)
	if d.trace == nil {
		d.trace = c.cfg.Tracer.Begin(e, d.since)
	}
	return d.trace.Carry(e), nil
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

// retry puts the lane aside until the next attempt, unless there is none.
func (c *Chain) retry(d *delivery, e *event.Event, err error) bool {
	f, ok := errors.AsType[*failure](err)
	if !ok || f.permanent {
		return false
	}
	if f.pause > 0 {
		c.park(d, e, f.pause)
		return true
	}
	d.failures++
	if c.cfg.RetryMax > 0 && d.failures > c.cfg.RetryMax {
		return false
	}
	c.park(d, e, c.backoff(d.failures))
	return true
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

// park lets the lane sleep with what it needs to go on at the same step.
func (c *Chain) park(d *delivery, e *event.Event, wait time.Duration) {
	if d.step > d.first && !d.kept {
		packed, err := pack(e, c.cfg.Compress)
		if err != nil { // no step could take it either
			c.report(context.Background(), d, e, err, "")
			c.finish(d)
			return
		}
		d.item.Keep(packed)
		d.kept = true
	}
	c.queue.addAfter(d, wait)
}
