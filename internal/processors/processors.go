// Package processors says how many processors run the goroutines of a process
// that mostly waits: one while there is little to do, more when there is much.
// What it does goes through a few goroutines that each wake the next, and with a
// second processor that wakes a thread each time and lets the garbage collector
// run on both, which takes a fifth to a quarter of the time that a single event
// takes.
package processors

import (
	"os"
	"runtime"
	"sync"
	"time"
)

// Config says what is much.
type Config struct {
	// Most is how many there are when there is much to do, as far as the
	// machine has them.
	Most int
	// Much is how many things that wait are worth more than one.
	Much int
	// Waiting tells how many wait.
	Waiting func() int
}

// Processors decides. Who sets GOMAXPROCS knows better: then it does nothing.
type Processors struct {
	cfg  Config
	most int // 1: there is nothing to decide

	mu    sync.Mutex
	many  bool
	ended bool
	timer *time.Timer
}

// calmAfter is how often it is looked whether there is still much to do.
const calmAfter = time.Second

// New begins with the most.
func New(cfg Config) *Processors {
	p := &Processors{cfg: cfg, most: 1, many: true}
	if os.Getenv("GOMAXPROCS") == "" {
		p.most = min(runtime.GOMAXPROCS(0), cfg.Most)
		runtime.GOMAXPROCS(p.most)
	}
	return p
}

// Calm is called when the start is over.
func (p *Processors) Calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.most == 1 || p.ended || !p.many:
	case p.cfg.Waiting() >= p.cfg.Much:
		p.timer = time.AfterFunc(calmAfter, p.Calm)
	default:
		p.many = false
		runtime.GOMAXPROCS(1)
	}
}

// Busy is called with each thing that waits.
func (p *Processors) Busy() {
	if p.most == 1 || p.cfg.Waiting() < p.cfg.Much {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.many && !p.ended {
		p.many = true
		runtime.GOMAXPROCS(p.most)
		p.timer = time.AfterFunc(calmAfter, p.Calm)
	}
}

// End goes back to the most, for a stop.
func (p *Processors) End() {
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
