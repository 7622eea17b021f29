package state

import (
	"context"
	"slices"
)

// Deliver first hands all that waits to deliver, oldest first, and then each
// change as it is recorded (with a file: once it is written), in the order of
// its lane. deliver must not wait, and may be called by several goroutines. nil:
// what is recorded waits for the next Deliver. It is called while no source
// records, at the begin and the end of a configuration; once it has returned,
// the function of before is not called any more.
func (s *State) Deliver(deliver func(*Queued)) {
	s.handing.Lock()
	defer s.handing.Unlock()
	for _, q := range s.deliverTo(deliver) {
		deliver(q)
	}
}

// deliverTo sets who gets the changes, and gives those that deliver is to have
// at once: what is not written yet comes when it is.
func (s *State) deliverTo(deliver func(*Queued)) (ready []*Queued) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliver = deliver
	if deliver == nil {
		return nil
	}
	for q := range s.queue.all() {
		if q.written {
			ready = append(ready, q)
		}
	}
	return ready
}

// handOver hands on what the journal has written, in order.
func (s *State) handOver(changes []*Queued) {
	if len(changes) == 0 {
		return
	}
	s.handing.Lock()
	defer s.handing.Unlock()
	waiting, deliver := s.markWritten(changes)
	if deliver == nil {
		return
	}
	for _, q := range waiting {
		deliver(q)
	}
}

// markWritten notes that changes can be read from the store from now on, and
// gives those that are not done already.
func (s *State) markWritten(changes []*Queued) (waiting []*Queued, deliver func(*Queued)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range changes {
		q.written = true
		if q.warm == nil {
			q.change = nil
		}
	}
	return slices.DeleteFunc(changes, func(q *Queued) bool { return q.done }), s.deliver
}

// Queue lists what is recorded and not done, oldest first.
func (s *State) Queue() []*Queued {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Queued, 0, s.events)
	for q := range s.queue.all() {
		out = append(out, q)
	}
	return out
}

// Discard acknowledges, before Deliver, those of what waits that drop wants
// gone, in one transaction, and waits until it is written. If ctx ends before,
// they are acknowledged all the same.
func (s *State) Discard(ctx context.Context, drop func(*Queued) bool) error {
	var gone []*Queued
	for _, q := range s.Queue() {
		if drop(q) {
			gone = append(gone, q)
		}
	}
	s.mu.Lock()
	for _, q := range gone {
		s.acknowledge(q)
	}
	s.mu.Unlock()
	return s.Flush(ctx)
}

// acknowledge takes a change out of the queue, if it is still there; the caller
// holds mu.
func (s *State) acknowledge(q *Queued) {
	if q.done {
		return
	}
	q.done = true
	q.takeManifests() // it may be that nobody asked for them
	if s.marks != nil {
		s.marks.acknowledged(q)
	}
	s.queue.remove(q)
	s.events--
	s.bytes -= q.size + q.kept.bytes()
	s.store.remove(q.seq)
	s.changed.Broadcast()
}
