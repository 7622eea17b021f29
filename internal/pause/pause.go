// Package pause waits, unless there is nothing to wait for any more.
package pause

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends; it returns ctx's error.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}
