package source

import (
	"fmt"
	"sync/atomic"
	"time"
)

// stillness is how long a watch may show no life. An API server sends a bookmark
// a minute and ends a watch after ten minutes at most, and what fails is tried
// again within seconds: it is far more than all of that.
const stillness = 15 * time.Minute

// life is when a source last showed some.
type life struct {
	at    atomic.Int64 // in nanoseconds since 1970
	waits atomic.Bool  // for room in the queue, which may take as long as it takes
}

func (l *life) beat() { l.at.Store(time.Now().UnixNano()) }

// still is how long there has been no life.
func (l *life) still(now time.Time) time.Duration {
	if l.waits.Load() {
		return 0
	}
	return now.Sub(time.Unix(0, l.at.Load()))
}

// Stuck says why the watch can be taken for stuck; empty: it lives. It may be
// called at any time.
func (s *Source) Stuck(now time.Time) string {
	if d := s.life.still(now); d > stillness {
		return fmt.Sprintf("the watch of %s has shown no life for %s", s.resource, d.Round(time.Second))
	}
	return ""
}
