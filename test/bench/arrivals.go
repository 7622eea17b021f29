package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// arrivals is what came out at the end of a chain: the resourceVersions of the
// new objects, each once, and when.
type arrivals struct {
	// patience is how long nothing may arrive before what is missing is lost.
	patience time.Duration

	mu    sync.Mutex
	at    map[string]time.Time
	again int
	last  time.Time
}

func newArrivals() *arrivals {
	return &arrivals{patience: 30 * time.Second, at: map[string]time.Time{}}
}

func (a *arrivals) note(version string, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.at[version]; known {
		a.again++
		return
	}
	a.at[version], a.last = at, at
}

// missing counts those of want that have not come.
func (a *arrivals) missing(want []string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, v := range want {
		if _, ok := a.at[v]; !ok {
			n++
		}
	}
	return n
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.at)
}

// await waits until all of want has come. There is no number without it.
func (a *arrivals) await(ctx context.Context, want []string, p *process) error {
	count, since := a.count(), time.Now()
	for a.count() < len(want) || a.missing(want) > 0 {
		if err := p.alive(); err != nil {
			return err
		}
		if n := a.count(); n > count {
			count, since = n, time.Now()
		}
		if time.Since(since) > a.patience {
			return fmt.Errorf("%s: %d of %d changes did not arrive%s", p.name, a.missing(want), len(want), p.said())
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.at) > len(want) || a.again > 0 {
		return fmt.Errorf("%s: %d changes arrived that were not made, %d more than once", p.name, len(a.at)-len(want), a.again)
	}
	return nil
}
