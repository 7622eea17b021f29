package state

import (
	"context"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// Tx is what one observation writes: as a whole, or not at all if the process
// ends meanwhile.
type Tx struct {
	objects []seenObject
	changes []*Change
	watches []*Watch
	gone    []client.Place // watches that are forgotten
	place   client.Place   // of the watch that saw the changes
}

// seenObject is the object seen last under a key; nil: forgotten.
type seenObject struct {
	objectID
	object *object.Object
}

// Changes are those that the transaction queues.
func (t *Tx) Changes() []*Change { return t.changes }

// Watch records how far a watch is.
func (t *Tx) Watch(w Watch) { t.watches = append(t.watches, &w) }

// Unwatch forgets a watch.
func (t *Tx) Unwatch(p client.Place) { t.gone = append(t.gone, p) }

func (t *Tx) set(id objectID, o *object.Object) { t.objects = append(t.objects, seenObject{id, o}) }

// size is what it takes in bytes, nearly.
func (t *Tx) size() int {
	size := 0
	for _, o := range t.objects {
		if o.object != nil {
			size += o.object.Size()
		}
	}
	for _, c := range t.changes {
		size += c.Size()
	}
	return size
}

// Apply records a transaction. It does not wait for the disk, but while the
// queue is full, and so the watch waits too. It fails with ctx's error, or
// because the state cannot be written.
func (s *State) Apply(ctx context.Context, t *Tx) error {
	changes, err := s.record(ctx, t)
	s.hand(changes)
	return err
}

// record is Apply but for what has to be handed over at once.
func (s *State) record(ctx context.Context, t *Tx) ([]*Queued, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.wait(ctx, func() bool { return s.room(t) }); err != nil {
		return nil, err
	}
	b := s.next
	b.bytes += t.size()
	for _, o := range t.objects {
		b.setObject(o.objectID, o.object)
	}
	for _, w := range t.watches {
		p := w.Place()
		b.setWatch(p, w)
		s.current[p] = w
	}
	for _, p := range t.gone {
		b.setWatch(p, nil)
		delete(s.current, p)
	}
	for _, c := range t.changes {
		s.seq++
		size := c.Size()
		q := &Queued{state: s, seq: s.seq, lane: c.Lane(), size: size, change: c}
		q.warmUp()
		b.changes = append(b.changes, q)
		s.events++
		s.bytes += size
	}
	if s.marks != nil {
		s.marks.recorded(t, b.changes[len(b.changes)-len(t.changes):])
	}
	return s.hurry(len(t.changes) > 0), nil
}

// maxBatch bounds in bytes what is recorded and not yet written: the disk holds
// the watch back, too.
const maxBatch = 1 << 20

// room tells whether a transaction may come; the caller holds mu. The size of
// what comes is not asked for: the last change may pass the limit, so that a
// large one is neither overtaken for ever by small ones nor stuck behind one
// that is tried again and again.
func (s *State) room(t *Tx) bool {
	if s.next.bytes >= maxBatch {
		return false
	}
	if len(t.changes) == 0 {
		return true
	}
	full := s.events >= s.limits.Events || s.bytes >= s.limits.Bytes
	if full && s.said.Due() {
		s.log.Warn("queue is full, the watch waits", "changes", s.events, "bytes", s.bytes)
	}
	return !full
}

// Flush waits until all that is recorded is written.
func (s *State) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next.id
	if s.next.empty() {
		id--
	}
	s.hurry(true)
	return s.wait(ctx, func() bool { return s.written >= id })
}

// wait blocks until ok holds, ctx ends, or the state has failed; the caller
// holds mu.
func (s *State) wait(ctx context.Context, ok func() bool) error {
	var stop func() bool
	for {
		switch {
		case s.err != nil:
			return s.err
		case ctx.Err() != nil:
			return ctx.Err()
		case ok():
			return nil
		}
		if stop == nil {
			stop = context.AfterFunc(ctx, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.moved.Broadcast()
			})
			defer stop()
		}
		s.moved.Wait()
	}
}
