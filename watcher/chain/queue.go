package chain

import (
	"sync"
	"time"
)

// queue holds the order of the items that are not acknowledged yet, with the
// words of client-go's workqueue. Each object has a lane, so that its items go one
// at a time and in order. A lane is ready, taken by a worker, or asleep until its
// next attempt.
//
// Workers have roles: half of them take fresh lanes only, whose first item has not
// been tried yet, so that an endpoint that hangs for some objects leaves room for
// the others. The others take the lane of either kind that has been ready longest,
// so that neither kind waits for ever. The price: when all that is ready has been
// tried before, half of the workers are idle.
type queue struct {
	mu       sync.Mutex // protects all below and the lanes
	lanes    map[string]*lane
	fresh    readyLanes // for a first attempt
	tried    readyLanes // for a further one
	readied  uint64     // how often a lane has become ready
	idle     [2]waiters // by role
	items    int
	draining bool // the stop has begun: no sleep is longer than stopWait
	finished bool // nothing more is handed out
}

func newQueue() *queue {
	q := &queue{lanes: map[string]*lane{}}
	for i := range q.idle {
		q.idle[i].cond.L = &q.mu
	}
	return q
}

// add appends an item to its lane. How many there may be is its keeper's
// business. In a queue that has finished it stays there.
func (q *queue) add(d *delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items++
	name := d.item.Lane()
	l := q.lanes[name]
	if l == nil {
		l = &lane{name: name}
		q.lanes[name] = l
		q.ready(l)
	}
	d.lane = l
	l.items = append(l.items, d)
}

// get takes a lane that is ready for a worker of that role, and gives its first
// item. It waits for one, and gives nil when the queue has finished. Who got an
// item calls done or addAfter, unless the queue has finished.
func (q *queue) get(r role) *delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.finished {
		if l := q.take(r); l != nil {
			return l.items[0]
		}
		q.idle[r].wait()
	}
	return nil
}

// take gives a ready lane; nil: there is none for that role. The caller holds mu.
func (q *queue) take(r role) *lane {
	tried := r == eitherKind && len(q.tried) > 0
	switch fresh := len(q.fresh) > 0; {
	case tried && fresh && q.tried[0].readied < q.fresh[0].readied, tried && !fresh:
		return q.tried.pop()
	case fresh && tried:
		// The wake-up of this worker may have been for the other kind, and that of the
		// fresh lane for a worker that cannot take the other kind.
		q.idle[eitherKind].wakeOne()
		fallthrough
	case fresh:
		return q.fresh.pop()
	}
	return nil
}

// done removes an item that is delivered or given up; its lane goes on with the
// next.
func (q *queue) done(d *delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := d.lane
	l.tried = false
	q.items--
	l.items[0] = nil
	l.items = l.items[1:]
	if len(l.items) > 0 {
		q.ready(l)
	} else {
		delete(q.lanes, l.name)
	}
	if q.draining && q.items == 0 {
		q.finish()
	}
}

// stopWait is the longest sleep once the stop has begun: there are seconds left,
// and they are for delivering.
const stopWait = time.Second

// addAfter puts an item and its lane aside for a while; meanwhile it holds no
// worker, and from here on it belongs to the queue. In a queue that has finished
// it sleeps for good.
func (q *queue) addAfter(d *delivery, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := d.lane
	l.tried = true
	if q.finished {
		return
	}
	if q.draining {
		wait = min(wait, stopWait)
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if l.timer == timer { // not woken by a stop in the meantime
			q.ready(l)
		}
	})
	l.timer = timer
}

// shutDown hands out nothing more, and no timer outlives it. What is queued stays;
// what is taken comes to its end.
func (q *queue) shutDown() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.lanes {
		l.stopTimer()
	}
	q.finish()
}

// shutDownWithDrain hands out all that is left, also what sleeps, until the queue
// is empty; what is put aside from now on sleeps shortly.
func (q *queue) shutDownWithDrain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.draining = true
	if q.items == 0 {
		q.finish()
		return
	}
	for _, l := range q.lanes {
		if l.timer != nil {
			q.ready(l)
		}
	}
}

// len is the number of items that are not acknowledged.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items
}

// oldest is how long the item has waited that has waited longest; 0: none does.
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

// ready makes a lane ready and wakes a worker that may take it, if one is idle:
// for a fresh lane rather one that takes nothing else. The caller holds mu.
func (q *queue) ready(l *lane) {
	l.stopTimer()
	q.readied++
	l.readied = q.readied
	if l.tried {
		q.tried = append(q.tried, l)
		q.idle[eitherKind].wakeOne()
		return
	}
	q.fresh = append(q.fresh, l)
	if !q.idle[freshOnly].wakeOne() {
		q.idle[eitherKind].wakeOne()
	}
}

// finish lets every worker go; the caller holds mu.
func (q *queue) finish() {
	q.finished = true
	for i := range q.idle {
		q.idle[i].wakeAll()
	}
}
