// Package chain delivers changes: it walks each along the configured steps
// (direct mode) or posts it to one sink that walks for it (Knative mode), the
// changes of one subject in order, several subjects side by side.
//
// An item is pushed to the queue (queue.go). A worker gets it when its lane's turn
// has come, and has it pass the stages of a pipeline (pipeline.go, stages.go), once
// for each attempt at a step (step.go, request.go), until it waits or is done. What
// an item needs to go on between two steps is kept beside it (kept.go).
package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/seldom"
)

// Chain is the ordered list of steps with the queue in front of it.
type Chain struct {
	cfg   Config
	log   *slog.Logger
	steps []*step
	queue *queue

	before []string // for each step, the fingerprint of those in front of it

	delivering, givingUp pipeline

	dead      DeadLetter                          // nil: what is given up is an error line only
	deadFails seldom.Line                         // the line that says that the dead letter fails
	recorder  func(context.Context, *event.Event) // nil: nobody

	delivered, givenUp atomic.Int64
	leaving            atomic.Bool // another chain goes on

	// busy is, for each worker, since when it is about one attempt, in nanoseconds
	// since 1970; 0: it is idle.
	busy []atomic.Int64
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
	c.before = fingerprints(c.steps)
	c.newPipelines()
	return c, nil
}

// SetDeadLetter says where what is given up goes, before Run; nil: nowhere, it
// is an error line only.
func (c *Chain) SetDeadLetter(d DeadLetter) { c.dead = d }

// SetRecord says, before Run, who gets each event before its first attempt at
// the first step: once, unless it is delivered again after a restart.
func (c *Chain) SetRecord(record func(context.Context, *event.Event)) { c.recorder = record }

// Steps names the steps as logs do, without what may be a secret.
func (c *Chain) Steps() []string {
	var out []string
	for _, s := range c.steps {
		out = append(out, s.name)
	}
	return out
}

// Push queues an item for delivery, behind those of its lane. It may be called at
// any time, by any goroutine, and does not block: how many items there are is
// their keeper's business.
func (c *Chain) Push(item Item) { c.PushAt(item, 0) }

// PushAt is Push for an item whose event is the input of a later step: 0 is the
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
// durable items or after Leave, nothing is in flight; the end of ctx breaks off
// what is. It is called once, and no goroutine or timer outlives it. It returns how
// many items are not done. If they end with the process, each of them is logged,
// and put into the dead letter while there is time.
func (c *Chain) Run(ctx context.Context) (left int) {
	stop := context.AfterFunc(ctx, c.queue.shutDown)
	defer stop()
	var workers sync.WaitGroup
	for i := range c.busy {
		workers.Go(func() { c.worker(ctx, i) })
	}
	workers.Wait()
	c.queue.shutDown() // ctx may have ended just now
	for _, s := range c.steps {
		s.close()
	}
	all := c.queue.left()
	if !c.cfg.Durable && !c.leaving.Load() {
		c.lose(all)
	}
	return len(all)
}

// worker delivers one item after the other until the queue has finished.
func (c *Chain) worker(ctx context.Context, i int) {
	r, t := roleOf(i, len(c.busy)), &turn{}
	for d := c.queue.get(r); d != nil; d = c.queue.get(r) {
		t.delivery = d
		c.work(ctx, t, &c.busy[i])
		*t = turn{} // who is idle holds no event
		c.busy[i].Store(0)
	}
}

// Close lets Run come to its end. Durable items are left, but for those in flight.
// Others are delivered: what waits for its next attempt gets it at once, and
// further ones every second until Run's context ends; only a pause that an endpoint
// asked for is kept.
func (c *Chain) Close() {
	if c.cfg.Durable {
		c.queue.shutDown()
		return
	}
	c.queue.shutDownWithDrain()
}

// Leave is a Close for a reload: also items that end with the process are left,
// but for those in flight, and are not reported as lost. They keep what they need
// to go on where they are, in another chain.
func (c *Chain) Leave() {
	c.leaving.Store(true)
	c.queue.shutDown()
}
