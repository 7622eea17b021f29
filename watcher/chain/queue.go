package chain

import (
	"context"
	"sync"
	"time"
)

// queue holds the items that are not acknowledged yet: a lane for each subject,
// so that one subject's items go one at a time and in order. A lane is ready,
// taken by a worker, or asleep until its next attempt.
type queue struct {
	maxItems, maxBytes int

	mu       sync.Mutex
	lanes    map[string]*lane
	ready    []*lane
	items    int
	bytes    int
	closed   bool          // no more sleep: each item gets one last attempt
	wakeup   chan struct{} // closed and replaced when a lane gets ready
	freed    chan struct{} // closed and replaced when there may be room
	finished bool          // nothing more will be handed out
}

type lane struct {
	subject string
	items   []*delivery
	timer   *time.Timer // set while asleep
}

func newQueue(maxItems, maxBytes int) *queue {
	return &queue{
		maxItems: maxItems, maxBytes: maxBytes, lanes: map[string]*lane{},
		wakeup: make(chan struct{}), freed: make(chan struct{}),
	}
}

// push appends an item to its lane. It blocks while the queue is full, which
// holds the watch back; an item larger than the whole queue waits until the
// queue is empty. The error is ctx's.
func (q *queue) push(ctx context.Context, d *delivery) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		q.mu.Lock()
		if q.items == 0 || q.items < q.maxItems && q.bytes+d.size <= q.maxBytes {
			q.add(d)
			q.mu.Unlock()
			return nil
		}
		freed := q.freed
		q.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
		}
	}
}

func (q *queue) add(d *delivery) {
	subject := d.item.Subject()
	q.items++
	q.bytes += d.size
	l := q.lanes[subject]
	if l == nil {
		l = &lane{subject: subject}
		q.lanes[subject] = l
		q.wake(l)
	}
	l.items = append(l.items, d)
}

// next hands out the lane that has been ready longest; nil when ctx has ended
// or the queue is closed and empty.
func (q *queue) next(ctx context.Context) *lane {
	for {
		q.mu.Lock()
		if q.finished || ctx.Err() != nil {
			q.mu.Unlock()
			return nil
		}
		if len(q.ready) > 0 {
			l := q.ready[0]
			q.ready[0] = nil
			q.ready = q.ready[1:]
			q.mu.Unlock()
			return l
		}
		wakeup := q.wakeup
		q.mu.Unlock()
		select {
		case <-wakeup:
		case <-ctx.Done():
		}
	}
}

// first is the item that a taken lane delivers.
func (l *lane) first() *delivery { return l.items[0] }

// done removes the first item of a taken lane, which is delivered or given up.
func (q *queue) done(l *lane) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items--
	q.bytes -= l.items[0].size
	l.items[0] = nil
	l.items = l.items[1:]
	if len(l.items) > 0 {
		q.wake(l)
	} else {
		delete(q.lanes, l.subject)
	}
	close(q.freed)
	q.freed = make(chan struct{})
	q.finishIfDrained()
}

// sleep puts a taken lane aside for d; meanwhile it holds no worker. A closed
// queue does not let it sleep and says so.
func (q *queue) sleep(l *lane, d time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	l.timer = time.AfterFunc(d, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if l.timer != nil { // not woken by close
			q.wake(l)
		}
	})
	return true
}

// resize accounts for an item that grew or shrank while it is in the queue.
func (q *queue) resize(d *delivery, size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes += size - d.size
	d.size = size
}

// close ends all sleep, so that what is left gets its last attempt, and lets
// next return nil once the queue is empty.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, l := range q.lanes {
		if l.timer != nil {
			q.wake(l)
		}
	}
	q.finishIfDrained()
}

// len is the number of items that are not acknowledged.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items
}

// wake makes a lane ready; the caller holds mu.
func (q *queue) wake(l *lane) {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	q.ready = append(q.ready, l)
	q.signal()
}

func (q *queue) finishIfDrained() {
	if q.closed && q.items == 0 {
		q.finished = true
		q.signal()
	}
}

func (q *queue) signal() {
	close(q.wakeup)
	q.wakeup = make(chan struct{})
}
