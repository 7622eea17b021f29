// Package chain delivers changes: it walks each along the configured steps
// (direct mode) or posts it to one sink that walks for it (Knative mode), the
// changes of one subject in order, several subjects side by side.
package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// Item is a change to deliver.
type Item interface {
	// Subject is that of the event, known without building it.
	Subject() string
	// Lane names the object: items of one lane stay in order. It is the subject
	// without the version, which may change while an item waits.
	Lane() string
	// ID is that of the event, known without building it.
	ID() string
	// Size is the memory in bytes that the item holds while it waits.
	Size() int
	// Event builds the event; it is called again for a repeated attempt.
	Event() (*event.Event, error)
}

// Target is what one step calls: an endpoint, or a handler in this process.
type Target struct {
	Name string // what logs call it, besides its host; may be empty
	URL  string
	// Handler, if not nil, is called instead of URL: the same request gets the
	// same answer, without a connection.
	Handler http.Handler
}

// Config says where events go and how patiently.
type Config struct {
	Steps []Target // in order
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
	StopLevel slog.Level // at which it is logged that a step stops the chain
	// Compress and Decompress pack what waits between two steps.
	Compress   func([]byte) []byte
	Decompress func([]byte) ([]byte, error)
}

// Chain is the ordered list of steps with the queue in front of it.
type Chain struct {
	cfg   Config
	log   *slog.Logger
	steps []*step
	said  seldom // that the queue is full
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

// Steps names the steps as logs do, without what may be a secret.
func (c *Chain) Steps() []string {
	var out []string
	for _, s := range c.steps {
		out = append(out, s.name)
	}
	return out
}

// Push queues an item for delivery, which Close must not have ended yet. It
// blocks while the queue is full and fails only with ctx's error.
func (c *Chain) Push(ctx context.Context, item Item) error {
	return c.queue.push(ctx, &delivery{item: item, size: item.Size()}, c.full)
}

// full says that the watch is held back, at most once a minute.
func (c *Chain) full(items, bytes int) {
	if c.said.due(time.Now()) {
		c.log.Warn("queue is full, the watch waits", "changes", items, "bytes", bytes)
	}
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
		s.close()
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
// gets it at once, and further ones every second until Run's context ends; only
// a pause that an endpoint asked for is kept.
func (c *Chain) Close() { c.queue.close() }
