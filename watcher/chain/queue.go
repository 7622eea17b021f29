package chain

import (
	"sync"
	"time"
)

// queue holds the order of the items that are not acknowledged yet: a lane for
// each object, so that one object's items go one at a time and in order. A lane
// is ready, taken by a worker, or asleep until its next attempt.
type queue struct {
	repeats int // lanes that may be taken at once for a repeated attempt

	mu       sync.Mutex
	work     sync.Cond // a lane is ready, or the queue has finished
	lanes    map[string]*lane
	ready    ready // for a first attempt
	again    ready // for a repeated one
	turn     bool  // the next comes from again, if both have one
	repeated int   // lanes taken for a repeated attempt
	items    int
	closed   bool // the stop has begun: no sleep is longer than stopWait
	finished bool // nothing more is handed out
}

type lane struct {
	name   string
	items  []*delivery
	timer  *time.Timer // set while asleep
	repeat bool        // it was put aside: its next attempt is a repeated one
	taken  bool        // for a repeated attempt
}

// ready lists lanes, the one that has been ready longest first.
type ready []*lane

func (r *ready) pop() *lane {
	l := (*r)[0]
	(*r)[0] = nil
	*r = (*r)[1:]
	return l
}

// newQueue is a queue for so many workers. Half of them may work on repeated
// attempts, so that an endpoint that hangs for some objects leaves room for the
// others.
func newQueue(workers int) *queue {
	q := &queue{repeats: max(1, workers/2), lanes: map[string]*lane{}}
	q.work.L = &q.mu
	return q
}

// push appends an item to its lane. How many there may be is its keeper's
// business.
func (q *queue) push(d *delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items++
	name := d.item.Lane()
	l := q.lanes[name]
	if l == nil {
		l = &lane{name: name}
		q.lanes[name] = l
		q.wake(l)
	}
	l.items = append(l.items, d)
}

// next takes a lane that is ready, waiting for one, and its first item; nil when the queue has finished. push goes on appending to a
// taken lane, so its items are read under the lock only.
func (q *queue) next() (*lane, *delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		first, again := len(q.ready) > 0, len(q.again) > 0 && q.repeated < q.repeats
		switch {
		case q.finished:
			return nil, nil
		case again && (q.turn || !first):
			l := q.again.pop()
			q.turn, l.taken = false, true
			q.repeated++
			return l, l.items[0]
		case first:
			l := q.ready.pop()
			q.turn = true
			return l, l.items[0]
		}
		q.work.Wait()
	}
}

// oldest is how long the item has waited that has waited longest.
func (q *queue) oldest() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	var since time.Time
	for _, l := range q.lanes {
		if first := l.items[0].since; since.IsZero() || first.Before(since) {
			since = first
		}
	}
	if since.IsZero() {
		return 0
	}
	return time.Since(since)
}

// done removes the first item of a taken lane, which is delivered or given up.
func (q *queue) done(l *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leave(l)
	l.repeat = false
	q.items--
	l.items[0] = nil
	l.items = l.items[1:]
	if len(l.items) > 0 {
		q.wake(l)
	} else {
		delete(q.lanes, l.name)
	}
	if q.closed && q.items == 0 {
		q.finish()
	}
}

// stopWait is the longest sleep once the stop has begun: there are seconds left,
// and they are for delivering.
const stopWait = time.Second

// sleep puts a taken lane aside for d; meanwhile it holds no worker, and from
// here on it belongs to the queue. In a queue that has finished it sleeps for
// good.
func (q *queue) sleep(l *lane, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leave(l)
	l.repeat = true
	if q.finished {
		return
	}
	if q.closed {
		d = min(d, stopWait)
	}
	l.timer = time.AfterFunc(d, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if l.timer != nil { // not ended by close or abort
			q.wake(l)
		}
	})
}

// close begins the stop. Items that somebody else goes on with are left where
// they are, but for those in flight; else all that sleeps is woken, what sleeps
// from now on does so shortly, and next returns nil once the queue is empty.
func (q *queue) close(leave bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if leave || q.items == 0 {
		q.finish()
		return
	}
	for _, l := range q.lanes {
		if l.timer != nil {
			q.wake(l)
		}
	}
}

// abort hands out nothing more and ends all sleep; what is queued stays.
func (q *queue) abort() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.lanes {
		l.stopTimer()
	}
	q.finish()
}

// len is the number of items that are not acknowledged.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items
}

// left is what the queue still holds, each lane in order.
func (q *queue) left() []*delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	var left []*delivery
	for _, l := range q.lanes {
		left = append(left, l.items...)
	}
	return left
}

// wake makes a lane ready; the caller holds mu.
func (q *queue) wake(l *lane) {
	l.stopTimer()
	if l.repeat {
		q.again = append(q.again, l)
	} else {
		q.ready = append(q.ready, l)
	}
	q.work.Signal()
}

// leave ends the work on a lane; the caller holds mu.
func (q *queue) leave(l *lane) {
	if l.taken {
		l.taken = false
		q.repeated--
		q.work.Signal() // another may be repeated
	}
}

// finish lets every worker go; the caller holds mu.
func (q *queue) finish() {
	q.finished = true
	q.work.Broadcast()
}

func (l *lane) stopTimer() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}
