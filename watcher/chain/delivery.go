package chain

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// delivery is an item on its way. It belongs to the worker that took its lane,
// else to the queue.
type delivery struct {
	item     Item
	size     int
	step     int    // index of the step that is next
	input    []byte // packed input of that step; nil for the first
	attempts int    // at that step
	failures int    // attempts that count for RetryMax
}

// work delivers the first item of a lane as far as it gets.
func (c *Chain) work(ctx context.Context, l *lane, d *delivery) {
	var e *event.Event // input of the step that is next; built when it is needed
	for d.step < len(c.steps) {
		if ctx.Err() != nil {
			return // Run reports what is left
		}
		s := c.steps[d.step]
		if wait := s.pausedFor(); wait > 0 && c.park(l, d, e, wait) {
			return
		}
		if e == nil {
			var err error
			if e, err = c.input(d); err != nil {
				c.giveUp(d, err)
				break
			}
		}
		d.attempts++
		next, err := s.call(ctx, e)
		if err != nil {
			if ctx.Err() != nil {
				return // broken off
			}
			if c.retry(l, d, e, s, err) {
				return
			}
			c.giveUp(d, err)
			break
		}
		if next == nil {
			break
		}
		e = next
		c.advance(d)
	}
	c.queue.done(l)
}

// advance moves a delivery behind the step that took it.
func (c *Chain) advance(d *delivery) {
	if d.input != nil {
		d.input = nil
		c.queue.resize(d, d.item.Size())
	}
	d.step, d.attempts, d.failures = d.step+1, 0, 0
}

// input is the event for the step that is next.
func (c *Chain) input(d *delivery) (*event.Event, error) {
	if d.input != nil {
		return unpack(d.input, c.cfg.Decompress)
	}
	e, err := d.item.Event()
	if err != nil {
		return nil, err
	}
	for name, value := range c.cfg.Extensions {
		if e.Extensions == nil {
			e.Extensions = map[string]string{}
		}
		e.Extensions[name] = value
	}
	return e, nil
}

// retry puts the lane aside until the next attempt, unless there is none.
func (c *Chain) retry(l *lane, d *delivery, e *event.Event, s *step, err error) bool {
	f, ok := errors.AsType[*failure](err)
	if !ok || f.permanent {
		return false
	}
	if f.pause > 0 {
		s.pause(f.pause)
		return c.park(l, d, e, f.pause)
	}
	d.failures++
	if c.cfg.RetryMax > 0 && d.failures > c.cfg.RetryMax {
		return false
	}
	return c.park(l, d, e, c.backoff(d.failures))
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

// park lets the lane sleep with what it needs to go on at the same step; false
// if the queue has finished.
func (c *Chain) park(l *lane, d *delivery, e *event.Event, wait time.Duration) bool {
	if d.step > 0 && d.input == nil {
		packed, err := pack(e, c.cfg.Compress)
		if err != nil {
			return false
		}
		d.input = packed
		c.queue.resize(d, d.size+len(packed))
	}
	return c.queue.sleep(l, wait)
}

// giveUp reports a change that will not be delivered.
func (c *Chain) giveUp(d *delivery, err error) {
	c.log.Error("change not delivered", "id", d.item.ID(), "subject", d.item.Subject(),
		"step", c.steps[d.step].name, "attempts", d.attempts, "error", err)
}
