package state

import (
	"fmt"

	"github.com/kwatchman/kwatchman/event"
)

// Queued is a change in the queue, by its number: the change itself is read
// when it is its turn, so that a long queue on disk takes next to no memory. It
// is what the chain delivers.
type Queued struct {
	state  *State
	seq    uint64
	lane   string
	size   int
	kept   int     // bytes of the input that is kept besides
	change *Change // until it is written
}

// Lane names the object: its changes stay in order.
func (q *Queued) Lane() string { return q.lane }

func (q *Queued) read() (*Change, error) {
	c, err := q.state.store.change(q.seq)
	if err == nil && c == nil {
		err = fmt.Errorf("change %d of %s is not in the state", q.seq, q.lane)
	}
	return c, err
}

// Name gives the event's id and subject, as far as the change can be read.
func (q *Queued) Name() (id, subject string) {
	c, err := q.read()
	if err != nil {
		return "", q.lane
	}
	return c.ID(), c.Subject()
}

// Event builds the event, which is the input of the first step.
func (q *Queued) Event() (*event.Event, error) {
	c, err := q.read()
	if err != nil {
		return nil, err
	}
	return c.Event(q.state.zip)
}

// Keep keeps the packed input of a later step while the change waits for it;
// nil: it is no longer needed.
func (q *Queued) Keep(input []byte) {
	s := q.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.inputs[q.seq] = input
	s.bytes += len(input) - q.kept
	q.kept = len(input)
	s.moved.Broadcast()
	s.hurry(false)
}

// Kept is what Keep was told.
func (q *Queued) Kept() ([]byte, error) {
	s := q.state
	s.mu.Lock()
	for _, b := range []*batch{s.next, s.flying} {
		if b == nil {
			continue
		}
		if input, ok := b.inputs[q.seq]; ok {
			s.mu.Unlock()
			return input, nil
		}
	}
	s.mu.Unlock()
	return s.store.input(q.seq)
}

// Done acknowledges the change, which is delivered or in the dead letter. A
// crash shortly after may deliver it once more.
func (q *Queued) Done() {
	s := q.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.done = append(s.next.done, q.seq)
	s.events--
	s.bytes -= q.size + q.kept
	s.moved.Broadcast()
	s.hurry(false)
}
