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

	// Force has the changes queued also where the queue is full.
	Force bool
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

// Apply records a transaction, and in memory hands its changes on. It does not
// wait for the disk, but while the queue is full, and so the watch waits too. It
// fails with ctx's error, or because the state cannot be written or is closed;
// then nothing of it is recorded.
func (s *State) Apply(ctx context.Context, t *Tx) error {
	changes, deliver, err := s.record(ctx, t)
	if err != nil || deliver == nil {
		return err
	}
	for _, q := range changes {
		deliver(q)
	}
	return nil
}

// record is Apply but for the handing on; deliver is nil where nobody asks for
// the changes yet, or the journal hands them on.
func (s *State) record(ctx context.Context, t *Tx) (changes []*Queued, deliver func(*Queued), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.awaitRoom(ctx, t); err != nil {
		return nil, nil, err
	}
	for _, w := range t.watches {
		s.current[w.Place()] = w
	}
	for _, p := range t.gone {
		delete(s.current, p)
	}
	changes = s.enqueue(t.changes)
	if s.store.record(*t, changes) { // a copy, so that who has t need not allocate it
		for _, q := range changes {
			q.written = true
		}
		deliver = s.deliver
	}
	if s.marks != nil {
		s.marks.recorded(t, changes)
	}
	return changes, deliver, nil
}

// enqueue gives changes their numbers and puts them into the queue; the caller
// holds mu.
func (s *State) enqueue(changes []*Change) []*Queued {
	if len(changes) == 0 {
		return nil
	}
	out := make([]*Queued, len(changes))
	for i, c := range changes {
		s.seq++
		q := newQueued(s, s.seq, c, c.scope)
		q.change = c
		q.cacheManifests()
		s.queue.push(q)
		s.events++
		s.bytes += q.size
		out[i] = q
	}
	return out
}

// awaitRoom waits until a transaction may come. That the queue is full is said
// while mu, which the caller holds, is free: who writes the line may have to
// wait.
func (s *State) awaitRoom(ctx context.Context, t *Tx) error {
	for {
		say := false
		err := s.wait(ctx, func() bool {
			if s.closed || s.hasRoom(t) {
				return true
			}
			say = s.isFull() && s.fullLog.Due()
			return say
		})
		switch {
		case err != nil:
			return err
		case s.closed:
			return errClosed
		case !say:
			return nil
		}
		changes, bytes := s.events, s.bytes
		s.mu.Unlock()
		s.log.Warn("queue is full, the watch waits", "changes", changes, "bytes", bytes)
		s.mu.Lock()
	}
}

// hasRoom tells whether a transaction may come; the caller holds mu. The size of
// what comes is not asked for: the last change may pass the limit, so that a
// large one is neither overtaken for ever by small ones nor stuck behind one
// that is tried again and again.
func (s *State) hasRoom(t *Tx) bool {
	return s.store.hasRoom() && (t.Force || len(t.changes) == 0 || !s.isFull())
}

// isFull tells whether the queue has reached a limit; the caller holds mu.
func (s *State) isFull() bool { return s.events >= s.limits.Events || s.bytes >= s.limits.Bytes }

// Flush waits until all that is recorded is written and, if somebody asks for
// it, delivered. It fails with ctx's error, or because the state cannot be
// written.
func (s *State) Flush(ctx context.Context) error { return s.store.flush(ctx) }
