package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// Outcome is what one attempt at one step came to.
type Outcome struct {
	Step string // as logs name it
	// Skipped tells that the step was not called.
	Skipped bool
	Took    time.Duration
	// Next is the event that the chain goes on with; nil if it ends here.
	Next   *event.Event
	Reason string // why the step stops the chain, if it says so
	// Err is why the attempt failed, one line without a secret; nil: it did not.
	Err       error
	Status    int           // of a failure; 0: no answer
	Permanent bool          // not tried again
	Pause     time.Duration // that the endpoint asked for
	Sink      bool          // the step is a sink in Knative mode
}

// Walk takes one event along the chain from a step on, 0 for the first, in the
// caller's goroutine, with one attempt at each step, and tells each outcome.
// remote tells whether endpoints are called; without, an event passes them
// unchanged. It ends with the chain or the first failure, and returns whether no
// step failed. Who is done calls Release.
func (c *Chain) Walk(ctx context.Context, e *event.Event, from int, remote bool, each func(Outcome)) (ok bool) {
	e = c.extended(e)
	for _, s := range c.steps[from:] {
		o := Outcome{Step: s.name, Sink: s.sink}
		if s.local == nil && !remote {
			o.Skipped, o.Next = true, e
			each(o)
			continue
		}
		began := time.Now()
		next, reason, err := s.attempt(ctx, e)
		o.Took, o.Next, o.Reason = time.Since(began), next, s.sanitize(reason)
		if f, failed := errors.AsType[*failure](err); failed {
			o.Err, o.Status, o.Permanent, o.Pause = errors.New(s.sanitize(f.reason)), f.status, f.permanent, f.pause
		} else if err != nil {
			o.Err = fmt.Errorf("%s", s.sanitize(err.Error()))
		}
		each(o)
		if o.Err != nil {
			return false
		}
		if next == nil {
			return true
		}
		e = next
	}
	return true
}

// Release ends what a chain that did not Run keeps open.
func (c *Chain) Release() {
	for _, s := range c.steps {
		s.close()
	}
}
