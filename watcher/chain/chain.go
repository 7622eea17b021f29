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
	// ID is that of the event, known without building it.
	ID() string
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
	if len(cfg.Steps) == 0 {
		return nil, errors.New("the chain has no steps")
	}
	c := &Chain{cfg: cfg, log: cfg.Logger, queue: newQueue(cfg.QueueEvents, cfg.QueueBytes)}
	for i, target := range cfg.Steps {
		s, err := newStep(i+1, target, cfg)
		if err != nil {
			return nil, err
		}
		c.steps = append(c.steps, s)
	}
	return c, nil
}

// Push queues an item for delivery, which Close must not have ended yet. It
// blocks while the queue is full and fails only with ctx's error.
func (c *Chain) Push(ctx context.Context, item Item) error {
	return c.queue.push(ctx, &delivery{item: item, size: item.Size()})
}

// Waiting is the number of items that are not acknowledged.
func (c *Chain) Waiting() int { return c.queue.len() }

// Run delivers until Close has been called and the queue is empty, or ctx
// ends, which breaks off what is in flight. The error says how many changes
// that left undelivered; each of them is logged.
func (c *Chain) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, c.queue.abort)
	defer stop()
	var workers sync.WaitGroup
	for range c.cfg.Concurrency {
		workers.Go(func() {
			for l, d := c.queue.next(); l != nil; l, d = c.queue.next() {
				c.work(ctx, l, d)
			}
		})
	}
	workers.Wait()
	c.queue.abort() // ctx may have ended just now; no timer outlives Run
	for _, s := range c.steps {
		s.client.HTTPClient.CloseIdleConnections()
	}
	left := c.queue.left()
	for _, d := range left {
		c.giveUp(d, errStopped)
	}
	if len(left) > 0 {
		return fmt.Errorf("%d changes were not delivered before the stop", len(left))
	}
	return nil
}

var errStopped = errors.New("the stop came first")

// Close lets Run end once the queue is empty. What waits for its next attempt
// gets a last one at once.
func (c *Chain) Close() { c.queue.close() }

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
				return // Run reports what is left
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
func (c *Chain) giveUp(d *delivery, err error) {
	c.log.Error("change not delivered", "id", d.item.ID(), "subject", d.item.Subject(),
		"step", c.steps[d.step].name, "attempts", d.attempts, "error", err)
}
