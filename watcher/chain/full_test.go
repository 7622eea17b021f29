package chain

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

func TestAFullQueueIsSaidAndNotWithEveryChange(t *testing.T) {
	const full = "queue is full, the watch waits"
	release := make(chan struct{})
	step := function(t, func(context.Context, event.Event) (*event.Event, error) {
		<-release
		return nil, nil //nolint:nilnil // the end of the chain
	})
	c := start(t, Config{Steps: steps(step), QueueEvents: 1})
	pushed := make(chan error, 1)
	go func() {
		for n := range 5 {
			if err := c.Push(context.Background(), change("web", n+1)); err != nil {
				pushed <- err
				return
			}
		}
		pushed <- nil
	}()
	require.Eventually(t, func() bool { return len(c.log.with(t, full)) > 0 }, 20*time.Second, time.Millisecond)
	close(release)
	require.NoError(t, <-pushed)
	c.finish()
	said := c.log.with(t, full)
	require.Len(t, said, 1)
	require.EqualValues(t, 1, said[0]["changes"])
	require.Equal(t, "WARN", said[0]["level"])
}
