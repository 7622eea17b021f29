//go:build !unix

package serve

import "time"

// used is not known here.
func used() (cpu time.Duration, rss int64, ok bool) { return 0, 0, false }
