package state

import "iter"

// queue lists the changes that are not done, oldest first; one may leave it from
// the middle, so that it never holds more than what waits. State.mu protects it,
// and the links in its items.
type queue struct{ first, last *Queued }

// push puts an item behind all others.
func (l *queue) push(q *Queued) {
	if q.previous = l.last; l.last != nil {
		l.last.next = q
	} else {
		l.first = q
	}
	l.last = q
}

// remove takes out an item, which has to be in the queue.
func (l *queue) remove(q *Queued) {
	if q.previous != nil {
		q.previous.next = q.next
	} else {
		l.first = q.next
	}
	if q.next != nil {
		q.next.previous = q.previous
	} else {
		l.last = q.previous
	}
	q.previous, q.next = nil, nil
}

// all gives the items in order. The queue must not change meanwhile.
func (l *queue) all() iter.Seq[*Queued] {
	return func(yield func(*Queued) bool) {
		for q := l.first; q != nil && yield(q); q = q.next {
		}
	}
}
