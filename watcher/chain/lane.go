package chain

import (
	"sync"
	"time"
)

// role is what a worker takes.
type role int

const (
	eitherKind role = iota
	freshOnly
)

// roleOf is the role of the i-th of so many workers, i from 0. A single one takes
// either kind.
func roleOf(i, workers int) role {
	if i < max(1, workers/2) {
		return eitherKind
	}
	return freshOnly
}

// lane is the items of one object, in order. The queue's mu protects it.
type lane struct {
	name    string
	items   []*delivery
	tried   bool        // its first item was put aside before
	readied uint64      // when it became ready: the queue's counter
	timer   *time.Timer // set while asleep
}

// readyLanes lists lanes, the one that has been ready longest first.
type readyLanes []*lane

func (r *readyLanes) pop() *lane {
	l := (*r)[0]
	(*r)[0] = nil
	*r = (*r)[1:]
	return l
}

// waiters are the workers of one role that have nothing to do. Their number tells
// whom a wake-up reaches: a lane for which nobody of its role is idle is found by
// the worker that asks next.
type waiters struct {
	cond sync.Cond // with the queue's mu
	n    int       // of those that wait and are not yet woken
}

func (w *waiters) wait() {
	w.n++
	w.cond.Wait()
}

func (w *waiters) wakeOne() bool {
	if w.n == 0 {
		return false
	}
	w.n--
	w.cond.Signal()
	return true
}

func (w *waiters) wakeAll() {
	w.n = 0
	w.cond.Broadcast()
}

func (l *lane) stopTimer() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}
