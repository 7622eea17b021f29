package chain

import (
	"time"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/tracing"
)

// Item is a change to deliver. It stays where it is stored until it is done; the
// chain holds no more of it than its place in the order.
//
// The chain calls the methods of one item from one goroutine at a time, but for
// Keep.
type Item interface {
	// Lane names the object: items of one lane are delivered one at a time, in the
	// order in which they were pushed. It is the subject without the version, which
	// may change while an item waits.
	Lane() string
	// Name gives the event's id and subject, for logs.
	Name() (id, subject string)
	// Event builds the event. It may be called any number of times until Done: once
	// for each attempt at the first step, and what it gives is the caller's.
	Event() (*event.Event, error)
	// Keep keeps, while the item waits, the packed input of a later step: step is that
	// step's index from 0, before identifies the steps in front of it. A nil input:
	// nothing is kept any more. Any goroutine may call it, any number of times, until
	// Done.
	Keep(step int, before string, input []byte)
	// KeptStep is what Keep was last told, also by an earlier process; ok is false if
	// nothing is kept. It is cheap.
	KeptStep() (step int, before string, ok bool)
	// Kept reads the packed input; it may read a disk.
	Kept() ([]byte, error)
	// Done acknowledges the item: it is delivered, stopped by a step, or given up. It
	// is called once, as the last of all, and what is kept is forgotten with it.
	Done()
}

// delivery is an item on its way. It belongs to the worker that got it from the
// queue, else to the queue, whose mu then protects it.
type delivery struct {
	item      Item
	lane      *lane           // set when it is added to the queue
	since     time.Time       // when it was pushed
	first     int             // index of the step that the item's event is the input of
	step      int             // index of the step that is next
	begun     bool            // the item has been asked where to begin
	kept      bool            // the item keeps the input of the step that is next
	restarted bool            // it has begun anew because what was kept could not be read
	attempts  int             // at the step that is next
	failures  int             // attempts that count for RetryMax; then those at the dead letter
	givenUp   error           // why; nil: it is not. It waits for the dead letter
	trace     *tracing.Change // nil: not begun, or nobody follows
}

// advance moves a delivery to the next step. What its item keeps of the step before
// stays there until the input of a later step takes its place, or the item is done:
// a crash repeats that one step. Were it forgotten here, a crash in the next moment
// would begin at the first step, which may have been done hours ago.
func (d *delivery) advance() {
	d.step, d.attempts, d.failures, d.kept = d.step+1, 0, 0, false
}

// restart moves a delivery back to its first step.
func (d *delivery) restart() {
	d.forget()
	d.step, d.attempts, d.failures, d.givenUp, d.restarted = d.first, 0, 0, nil, true
}

// forget has the item keep nothing any more.
func (d *delivery) forget() {
	d.item.Keep(0, "", nil)
	d.kept = false
}
