package chain

import (
	"sync"
	"time"
)

// often is how much time lies between two lines about the same trouble.
const often = time.Minute

// seldom keeps a line that could come with every change from filling the log.
type seldom struct {
	mu   sync.Mutex
	last time.Time
}

// due tells whether the line may be said again, and takes it as said.
func (s *seldom) due(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last) < often {
		return false
	}
	s.last = now
	return true
}
