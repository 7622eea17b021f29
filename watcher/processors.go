package watcher

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

// mostProcessors is how many run the watcher's goroutines when there is much to
// do: beyond, it gains little, and on a large node each keeps memory of its own.
const mostProcessors = 2

// processors says how many of them run goroutines at once. A change goes through
// a few goroutines that each wake the next. With a second processor that wakes
// a thread each time, which takes about a fifth of the time that a change takes
// when there is nothing else to do. So there is one in calm times, and more for a
// start and while changes wait. Who sets GOMAXPROCS knows better.
type processors struct {
	most    int // 1: never more than one, or not ours to decide
	waiting func() int

	mu    sync.Mutex
	many  bool
	ended bool
	timer *time.Timer
}

const (
	// muchWaiting is how many waiting changes are worth another processor.
	muchWaiting = 64
	// calmAfter is how often it is looked whether that is over.
	calmAfter = time.Second
)

// newProcessors begins with many; waiting tells how many changes wait.
func newProcessors(waiting func() int) *processors {
	p := &processors{most: 1, waiting: waiting, many: true}
	if os.Getenv("GOMAXPROCS") == "" {
		p.most = min(runtime.GOMAXPROCS(0), mostProcessors)
		runtime.GOMAXPROCS(p.most)
	}
	return p
}

// calm is called when the start is over.
func (p *processors) calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.look()
}

// busy is called with each change that waits.
func (p *processors) busy() {
	if p.most == 1 || p.waiting() < muchWaiting {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.many && !p.ended {
		p.many = true
		runtime.GOMAXPROCS(p.most)
		p.timer = time.AfterFunc(calmAfter, p.calm)
	}
}

// look goes back to one if nothing waits, else looks again; the caller holds mu.
func (p *processors) look() {
	switch {
	case p.most == 1 || p.ended || !p.many:
	case p.waiting() == 0:
		p.many = false
		runtime.GOMAXPROCS(1)
	default:
		p.timer = time.AfterFunc(calmAfter, p.calm)
	}
}

// end leaves it at many, for a stop.
func (p *processors) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if p.timer != nil {
		p.timer.Stop()
	}
	if p.most > 1 {
		runtime.GOMAXPROCS(p.most)
	}
}

// tuneHeap keeps the heap small. Most of it are packed objects, which stay and
// are cheap to mark: Go's own setting would let garbage take as much room again
// before it is collected, and half of that costs next to nothing. Who sets GOGC
// knows better.
func tuneHeap() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}
