package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

var began = time.Now()

// say prints a line of progress: it takes minutes.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench %4.0fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}

// progress says how far many equal things are.
type progress struct {
	what  string
	total int64
	done  atomic.Int64
	due   atomic.Int64 // unix seconds of the next line
}

const progressEvery = 5 // seconds

func newProgress(what string, total int) *progress {
	p := &progress{what: what, total: int64(total)}
	p.due.Store(time.Now().Unix() + progressEvery)
	return p
}

func (p *progress) step() {
	done, now := p.done.Add(1), time.Now().Unix()
	due := p.due.Load()
	if done == p.total || now >= due && p.due.CompareAndSwap(due, now+progressEvery) {
		say("%s: %d of %d", p.what, done, p.total)
	}
}
