// Package chain delivers changes: it walks each along the configured steps
// (direct mode) or posts it to one sink that walks for it (Knative mode), the
// changes of one subject in order, several subjects side by side.
package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// Item is a change to deliver.
type Item interface {
	// Subject names the object: items of one subject stay in order.
	Subject() string
	// Size is the memory in bytes that the item holds while it waits.
	Size() int
	// Event builds the event; it is called again for a repeated attempt.
	Event() (*event.Event, error)
}

// Config says where events go and how patiently.
type Config struct {
	Steps []string // URLs in order
	// Sink makes the one step a sink in Knative mode: any 2xx is the end.
	Sink       bool
	Extensions map[string]string // added to each event (K_CE_OVERRIDES)
	CACerts    string            // PEM, trusted besides the system's

	Concurrency  int
	QueueEvents  int
	QueueBytes   int
	Timeout      time.Duration // of one attempt
	RetryMax     int           // attempts after the first; 0 = no limit
	RetryWaitMin time.Duration
	RetryWaitMax time.Duration

	UserAgent string
	Logger    *slog.Logger
	// Compress and Decompress pack what waits between two steps.
	Compress   func([]byte) []byte
	Decompress func([]byte) ([]byte, error)
}

// Chain is the ordered list of steps with the queue in front of it.
type Chain struct {
	cfg   Config
	log   *slog.Logger
	steps []*step
	queue *queue
}

// New checks the steps' URLs and prepares the chain; Run starts it.
func New(cfg Config) (*Chain, error) {
	client, err := newHTTPClient(cfg)
	if err != nil {
		return nil, err
	}
	c := &Chain{cfg: cfg, log: cfg.Logger, queue: newQueue(cfg.QueueEvents, cfg.QueueBytes)}
	for i, target := range cfg.Steps {
		s, err := newStep(i+1, target, client, cfg)
		if err != nil {
			return nil, err
		}
		c.steps = append(c.steps, s)
	}
	return c, nil
}

// Push queues an item for delivery. It blocks while the queue is full and
// fails only with ctx's error.
func (c *Chain) Push(ctx context.Context, item Item) error {
	return c.queue.push(ctx, &delivery{item: item, size: item.Size()})
}

// Waiting is the number of items that are not acknowledged.
func (c *Chain) Waiting() int { return c.queue.len() }

// Run delivers until Close has been called and the queue is empty, or ctx
// ends, which breaks off what is in flight. The error says how many changes
// that left undelivered.
func (c *Chain) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range c.cfg.Concurrency {
		workers.Go(func() {
			for l := c.queue.next(ctx); l != nil; l = c.queue.next(ctx) {
				c.work(ctx, l)
			}
		})
	}
	workers.Wait()
	if n := c.queue.len(); n > 0 {
		return fmt.Errorf("%d changes were not delivered before the stop", n)
	}
	return nil
}

// Close lets Run end once the queue is empty. What waits for its next attempt
// gets a last one at once.
func (c *Chain) Close() { c.queue.close() }

// delivery is an item on its way.
type delivery struct {
	item     Item
	size     int
	step     int    // index of the step that is next
	input    []byte // packed input of that step; nil for the first
	attempts int    // at that step
}

// work delivers the first item of a lane as far as it gets.
func (c *Chain) work(ctx context.Context, l *lane) {
	d := l.first()
	e, err := c.input(d)
	if err != nil {
		c.giveUp(d, nil, err)
		c.queue.done(l)
		return
	}
	for e != nil && d.step < len(c.steps) {
		s := c.steps[d.step]
		if wait := s.pausedFor(); wait > 0 && c.park(l, d, e, wait) {
			return
		}
		out, err := s.call(ctx, e)
		if err == nil {
			e = out
			c.advance(d)
			continue
		}
		if ctx.Err() != nil {
			c.giveUp(d, e, fmt.Errorf("broken off by the stop: %w", err))
			c.queue.done(l)
			return
		}
		if c.retry(l, d, e, s, err) {
			return
		}
		c.giveUp(d, e, err)
		c.queue.done(l)
		return
	}
	c.queue.done(l)
}

// advance moves a delivery behind the step that took it.
func (c *Chain) advance(d *delivery) {
	if d.input != nil {
		d.input = nil
		c.queue.resize(d, d.item.Size())
	}
	d.step, d.attempts = d.step+1, 0
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
	d.attempts++
	if c.cfg.RetryMax > 0 && d.attempts > c.cfg.RetryMax {
		return false
	}
	return c.park(l, d, e, c.backoff(d.attempts))
}

// backoff doubles from RetryWaitMin up to RetryWaitMax, of which a random half
// to the whole is waited.
func (c *Chain) backoff(attempts int) time.Duration {
	wait := c.cfg.RetryWaitMin
	for range attempts - 1 {
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
// if the queue is closing.
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
func (c *Chain) giveUp(d *delivery, e *event.Event, err error) {
	attrs := []any{"subject", d.item.Subject(), "attempts", d.attempts + 1, "error", err}
	if e != nil {
		attrs = append(attrs, "id", e.ID)
	}
	if d.step < len(c.steps) {
		attrs = append(attrs, "step", c.steps[d.step].name)
	}
	c.log.Error("change not delivered", attrs...)
}
