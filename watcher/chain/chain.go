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
	"sync/atomic"
	"time"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/bearer"
	"github.com/kwatchman/kwatchman/internal/seldom"
	"github.com/kwatchman/kwatchman/internal/signature"
	"github.com/kwatchman/kwatchman/internal/tlsfiles"
	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/watcher/metrics"
)

// Item is a change to deliver. It stays where it is kept until it is done; the
// chain holds no more of it than its place in the order.
type Item interface {
	// Lane names the object: items of one lane stay in order. It is the subject
	// without the version, which may change while an item waits.
	Lane() string
	// Name gives the event's id and subject, for logs.
	Name() (id, subject string)
	// Event builds the event; it is called again for a repeated attempt.
	Event() (*event.Event, error)
	// Keep keeps the packed input of a later step while the item waits for it,
	// Kept gives it back; nil: it is no longer needed.
	Keep(input []byte)
	Kept() ([]byte, error)
	// Done acknowledges the item: it is delivered or in the dead letter.
	Done()
}

// DeadLetter takes the events that are given up.
type DeadLetter interface {
	// Name is what logs call it, without what may be a secret.
	Name() string
	// Put keeps an event for good. After an error the event is still the
	// caller's, who tries again.
	Put(ctx context.Context, e *event.Event) error
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
	// TLS has the client's certificate, and a CA that is trusted besides; nil: neither.
	TLS *tlsfiles.Loader

	// Durable tells that items which are not done outlive the process, so that a
	// stop leaves what has not begun.
	Durable bool
	// Holds tells whether this process may send; nil: always. Once it may not, the
	// chain sends nothing more.
	Holds func() bool

	Concurrency  int
	Timeout      time.Duration // of one attempt
	RetryMax     int           // attempts after the first; 0 = no limit
	RetryWaitMin time.Duration
	RetryWaitMax time.Duration

	// Sign are the keys that requests to endpoints are signed with, in direct mode.
	Sign signature.Keys
	// Token goes with requests to endpoints and to a sink; nil: none does.
	Token     *bearer.Token
	UserAgent string
	Logger    *slog.Logger
	StopLevel slog.Level // at which it is logged that a step stops the chain
	Metrics   *metrics.Metrics
	// Tracer, which outlives the chain, follows changes; nil: nobody does.
	Tracer *tracing.Tracer
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

	dead   DeadLetter                          // nil: what is given up is an error line only
	said   seldom.Line                         // that the dead letter fails
	record func(context.Context, *event.Event) // nil: nobody

	delivered, givenUp atomic.Int64
	leaving            atomic.Bool // another chain goes on

	busy []atomic.Int64 // for each worker, since when it is about one attempt, in nanoseconds since 1970; 0: it is idle
}

// New checks the steps' URLs and prepares the chain; Run starts it.
func New(cfg Config) (*Chain, error) {
	if len(cfg.Steps) == 0 {
		return nil, errors.New("the chain has no steps")
	}
	c := &Chain{cfg: cfg, log: cfg.Logger, queue: newQueue(), busy: make([]atomic.Int64, cfg.Concurrency)}
	for i, target := range cfg.Steps {
		s, err := newStep(i+1, target, cfg)
		if err != nil {
			return nil, err
		}
		cfg.Metrics.Step(s.name)
		c.steps = append(c.steps, s)
	}
	return c, nil
}

// SetDeadLetter says where what is given up goes, before Run; nil: nowhere, it
// is an error line only.
func (c *Chain) SetDeadLetter(d DeadLetter) { c.dead = d }

// SetRecord says, before Run, who gets each event before its first attempt at
// the first step: once, unless it is delivered again after a restart.
func (c *Chain) SetRecord(record func(context.Context, *event.Event)) { c.record = record }

// Steps names the steps as logs do, without what may be a secret.
func (c *Chain) Steps() []string {
	var out []string
	for _, s := range c.steps {
		out = append(out, s.name)
	}
	return out
}

// Push queues an item for delivery.
func (c *Chain) Push(item Item) { c.queue.add(&delivery{item: item, since: time.Now()}) }

// PushAt queues an item whose event is the input of a later step: 0 is the
// first.
func (c *Chain) PushAt(item Item, step int) {
	c.queue.add(&delivery{item: item, first: step, step: step, since: time.Now()})
}

// StepOf is the index of the step that a dead letter names: the one at its place
// if that is what it was, else the only one that is what it was, else, where none
// is, the one that took its place. moved tells that it is another one or
// elsewhere.
func (c *Chain) StepOf(place int, dest string) (index int, moved, ok bool) {
	there := place >= 1 && place <= len(c.steps)
	if there && (dest == "" || c.steps[place-1].dest == dest) {
		return place - 1, false, true
	}
	var same []int
	for i, s := range c.steps {
		if s.dest == dest {
			same = append(same, i)
		}
	}
	switch {
	case len(same) == 1:
		return same[0], true, true
	case len(same) == 0 && there:
		return place - 1, true, true
	}
	return 0, false, false
}

// Counts are the items that came to their end: delivered or stopped by a step,
// and given up.
func (c *Chain) Counts() (delivered, givenUp int64) { return c.delivered.Load(), c.givenUp.Load() }

// Waiting is the number of items that are not acknowledged.
func (c *Chain) Waiting() int { return c.queue.len() }

// Oldest is how long the oldest of them has waited; 0: none waits.
func (c *Chain) Oldest() time.Duration { return c.queue.oldest() }

// late is how much longer than its time limit an attempt may take.
const late = time.Minute

// Stuck says why the delivery can be taken for stuck; empty: it works, or waits
// for endpoints as it should. It may be called at any time.
func (c *Chain) Stuck(now time.Time) string {
	for i := range c.busy {
		if since := c.busy[i].Load(); since != 0 {
			if d := now.Sub(time.Unix(0, since)); d > c.cfg.Timeout+late {
				return fmt.Sprintf("a delivery has been stuck for %s", d.Round(time.Second))
			}
		}
	}
	return ""
}

// Run delivers until Close has been called and the queue is empty, or, with
// durable items, nothing is in flight; the end of ctx breaks off what is. It
// returns how many items are not done. If they end with the process, each of
// them is logged, and put into the dead letter while there is time.
func (c *Chain) Run(ctx context.Context) (left int) {
	stop := context.AfterFunc(ctx, c.queue.shutDown)
	defer stop()
	var workers sync.WaitGroup
	for i := range c.busy {
		workers.Go(func() {
			r := roleOf(i, len(c.busy))
			for d := c.queue.get(r); d != nil; d = c.queue.get(r) {
				c.work(ctx, d, &c.busy[i])
				c.busy[i].Store(0)
			}
		})
	}
	workers.Wait()
	c.queue.shutDown() // ctx may have ended just now; no timer outlives Run
	for _, s := range c.steps {
		s.close()
	}
	all := c.queue.left()
	if !c.cfg.Durable && !c.leaving.Load() {
		c.lose(all)
	}
	return len(all)
}

// Close lets Run come to its end. Without durable items, what waits for its next
// attempt gets it at once, and further ones every second until Run's context
// ends; only a pause that an endpoint asked for is kept.
func (c *Chain) Close() {
	if c.cfg.Durable {
		c.queue.shutDown()
		return
	}
	c.queue.shutDownWithDrain()
}
