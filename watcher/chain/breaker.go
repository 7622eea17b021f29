package chain

import (
	"sync"
	"time"
)

// breaker holds a step back, for every subject, while its endpoint has asked for
// a pause (Retry-After). After it the breaker is half open: one attempt feels the
// way, each success lets one more follow, and when maxPermits are free at once it
// is closed, and there is no limit any more. An endpoint that takes a message a
// second is not to be asked by all who wait, once a second.
//
// An attempt that was admitted before the last pause gives nothing back: it took
// no permit of those there are now, and its success does not tell that the
// endpoint takes more again. Such attempts are not counted either, so that one of
// them and the first after the pause may be under way at once.
type breaker struct {
	mu         sync.Mutex // protects all below
	until      time.Time  // of the last pause
	generation generation
	halfOpen   bool
	permits    int // attempts that may begin while half open
}

// generation counts the pauses of a breaker; 0: there was none yet.
type generation uint64

const (
	// maxPermits is how many free permits are no limit any more: the workers'
	// default number.
	maxPermits = 16
	// permitWait is how long to wait for a permit. It is asked for again, since who
	// waits holds no worker that could be told.
	permitWait = time.Second
)

// pause begins a pause, or prolongs the one at work, in place of settle.
func (b *breaker) pause(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until := time.Now().Add(d); until.After(b.until) {
		b.until = until
	}
	b.generation++
	b.halfOpen, b.permits = true, 1
}

// admit takes a permit for an attempt, or tells how long to wait before asking
// again. Who was admitted calls settle with the generation, or pause, once.
func (b *breaker) admit() (admitted generation, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch wait = time.Until(b.until); {
	case wait > 0:
		return 0, wait
	case !b.halfOpen:
		return b.generation, 0
	case b.permits == 0:
		return 0, permitWait
	}
	b.permits--
	return b.generation, 0
}

// settle gives the permit of an attempt back, after a success with one more.
func (b *breaker) settle(admitted generation, success bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.halfOpen || admitted != b.generation {
		return
	}
	b.permits++
	if success {
		b.permits++
	}
	b.halfOpen = b.permits <= maxPermits
}
