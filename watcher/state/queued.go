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
	step   int     // that it is the input of
	before string  // what identifies the steps in front of that
	change *Change // until it is written, and as long as it is warm

	unmarked *unmarked // nil: nobody follows the marks

	// warm are the manifests of a change that may be delivered at once, which
	// spares reading and unpacking them.
	warm *manifests
}

// maxWarm bounds in bytes the manifests that wait unpacked.
const maxWarm = 1 << 20

// warmUp takes over the manifests of a change if there is room; the caller holds
// the state's mu.
func (q *Queued) warmUp() {
	s, m := q.state, q.change.warm
	q.change.warm = nil
	if m != nil && s.warm+m.size() <= maxWarm {
		q.warm = m
		s.warm += m.size()
	}
}

// coolDown gives away what is warm, once.
func (q *Queued) coolDown() (*Change, *manifests) {
	s := q.state
	s.mu.Lock()
	defer s.mu.Unlock()
	m := q.warm
	if m == nil {
		return nil, nil
	}
	c := q.change
	q.warm, q.change = nil, nil
	s.warm -= m.size()
	return c, m
}

// written tells that the change can be read from now on.
func (q *Queued) written() {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	if q.warm == nil {
		q.change = nil
	}
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
	if c, m := q.coolDown(); m != nil {
		return c.event(*m), nil
	}
	c, err := q.read()
	if err != nil {
		return nil, err
	}
	return c.Event(q.state.zip)
}

// Keep keeps the packed input of a later step while the change waits for it, with
// what identifies the steps in front of it; nil: it is no longer needed.
func (q *Queued) Keep(step int, before string, input []byte) {
	s := q.state
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.setInput(q.seq, input)
	s.bytes += len(input) - q.kept
	q.kept, q.step, q.before = len(input), step, before
	s.moved.Broadcast()
	s.hurry(false)
}

// KeptStep is the step whose input is kept, in this process.
func (q *Queued) KeptStep() (step int, before string, ok bool) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	return q.step, q.before, q.kept > 0
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
	q.coolDown() // it may be that nobody asked for it
	s := q.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.unmarked != nil {
		s.marks.acknowledged(q.unmarked)
	}
	s.next.done = append(s.next.done, q.seq)
	s.events--
	s.bytes -= q.size + q.kept
	s.moved.Broadcast()
	s.hurry(false)
}
