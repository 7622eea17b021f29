package state

import (
	"context"
	"errors"
	"sync"
)

// errClosed is what comes too late.
var errClosed = errors.New("the state is closed")

// monitor is the lock that a State and its store share, with what is waited for
// under it: a change, its place in the accounts and in a batch are one step.
type monitor struct {
	mu      sync.Mutex
	changed sync.Cond // of mu: room, something to write, written, failed, or closed

	// Protected by mu.
	err    error // why the state cannot be written, for good
	closed bool  // nothing more is recorded

	failed chan struct{} // closed once err is set
}

func newMonitor() *monitor {
	m := &monitor{failed: make(chan struct{})}
	m.changed.L = &m.mu
	return m
}

// fail notes that the state cannot be written, and wakes all that wait. The
// first error is the one that counts. The caller holds mu.
func (m *monitor) fail(err error) {
	if m.err == nil {
		m.err = err
		close(m.failed)
	}
	m.changed.Broadcast()
}

// wait blocks until ok holds, ctx ends, or the state has failed, which it looks
// at first. ok is called with mu held, and has to hold at last once the state is
// closed. The caller holds mu.
func (m *monitor) wait(ctx context.Context, ok func() bool) error {
	var stop func() bool
	for {
		switch {
		case m.err != nil:
			return m.err
		case ctx.Err() != nil:
			return ctx.Err()
		case ok():
			return nil
		}
		if stop == nil {
			stop = context.AfterFunc(ctx, func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.changed.Broadcast()
			})
			defer stop()
		}
		m.changed.Wait()
	}
}
