package chain

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// newPipelines lays out the way of a delivery: the first row of stages for each
// attempt at a step, the second for one that is given up.
func (c *Chain) newPipelines() {
	c.delivering = pipeline{
		c.maySend, // nothing is sent by a process that may not any more
		c.resume,  // where an earlier chain or process has come to
		c.admit,   // unless the endpoint has asked for a pause
		c.input,   // is read only now: a queue may be long
		c.inTrace, // what is logged from here on names the change's trace
		c.record,  // for whoever asked for it
		c.attempt, // one request; then the next step, or the end
		c.retry,   // later, or give it up
	}
	c.givingUp = pipeline{c.maySend, c.input, c.inTrace, c.deadLetter}
}

// A stage does one thing about the delivery whose turn it is, and decides how that
// goes on. It runs in the worker's goroutine and may take as long as the attempt
// at a step may; the end of ctx breaks it off. The context that it returns is for
// the stages behind it.
type stage func(ctx context.Context, t *turn) (context.Context, verdict)

// verdict is a stage's decision.
type verdict struct {
	action action
	wait   time.Duration // of a sleep
}

type action int

const (
	goOn      action = iota // to the stage behind; the last one of a row never says so
	again                   // from the first stage: another step is next, or the dead letter
	sleep                   // for a while, then from the first stage
	end                     // it is delivered, stopped or given up: the item is done
	brokenOff               // it stays as it is, for a later chain or process
)

// sleepFor is the verdict to wait without holding a worker.
func sleepFor(wait time.Duration) verdict { return verdict{sleep, wait} }

// turn is a delivery in the hands of a worker, from when the worker gets it from
// the queue until it gives it back. What is only needed meanwhile is here, so that
// it takes no memory while the delivery waits.
type turn struct {
	*delivery
	event    *event.Event // input of the step that is next; nil: not loaded. Nobody changes it
	admitted generation   // in which the step's breaker has admitted the attempt
	err      error        // why the last attempt failed
}

// pipeline is a row of stages.
type pipeline []stage

// run lets a delivery pass the stages in order until one of them decides otherwise.
func (p pipeline) run(ctx context.Context, t *turn) (v verdict) {
	for _, s := range p {
		if ctx, v = s(ctx, t); v.action != goOn {
			break
		}
	}
	return v
}

// work takes the delivery of a turn as far as it gets, step by step, until it has
// to wait, comes to its end, or is broken off, and gives it back to the queue. The
// end of ctx breaks it off, and so does a process that may not send any more; its
// lane is then not handed out again. busy says when the last attempt has begun.
func (c *Chain) work(ctx context.Context, t *turn, busy *atomic.Int64) {
	v := verdict{action: again}
	for v.action == again && ctx.Err() == nil {
		busy.Store(time.Now().UnixNano())
		row := c.delivering
		if t.givenUp != nil {
			row = c.givingUp
		}
		v = row.run(ctx, t)
	}
	switch v.action {
	case end:
		c.finish(t)
	case sleep:
		c.park(ctx, t, v.wait)
	default:
		c.leave(t)
	}
}

// finish acknowledges an item that has come to its end.
func (c *Chain) finish(t *turn) {
	t.item.Done()
	c.queue.done(t.delivery)
}

// park lets a delivery sleep. Its item keeps what it needs to go on at the same
// step.
func (c *Chain) park(ctx context.Context, t *turn, wait time.Duration) {
	if err := c.keep(t.delivery, t.event); err != nil { // no step could take it either
		c.report(ctx, t.delivery, t.event, err, "")
		c.finish(t)
		return
	}
	c.queue.addAfter(t.delivery, wait)
}

// leave keeps what whoever goes on with a delivery needs, so that it repeats no
// step before the one that was broken off.
func (c *Chain) leave(t *turn) {
	_ = c.keep(t.delivery, t.event) // what cannot be packed begins anew
}
