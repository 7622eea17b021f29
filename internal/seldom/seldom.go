// Package seldom keeps a line that could come with every change from filling
// the log.
package seldom

import (
	"sync"
	"time"
)

// often is how much time lies between two lines about the same trouble.
const often = time.Minute

// Line is about one kind of trouble. The zero value is ready.
type Line struct {
	mu   sync.Mutex
	last time.Time
}

// Due tells whether the line may be said again, and takes it as said.
func (l *Line) Due() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.last) < often {
		return false
	}
	l.last = now
	return true
}
