package state_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// limited is a state in memory whose queue has limits, in a bubble of time.
func limited(t *testing.T, events, size int, test func(*testing.T, *world, *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		w := openWorld(t, deployments, state.Config{Events: events, Bytes: size, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
		w.Seen = w.state.Seen(wanted(""), deployments)
		w.state.Deliver(w.take)
		test(t, w, &log)
		require.NoError(t, w.state.Close())
	})
}

// seeing puts an object in the background and tells when that is through.
func (w *world) seeing(ctx context.Context, name string) <-chan error {
	var tx state.Tx
	require.NoError(w.t, w.Seen.Put(&tx, w.pack(manifest(name, "u-"+name, 1, "")), event.ViaWatch))
	done := make(chan error, 1)
	go func() { done <- w.state.Apply(ctx, &tx) }()
	synctest.Wait()
	return done
}

func TestAFullQueueHoldsBackWhatComesUntilSomethingIsDone(t *testing.T) {
	for name, limits := range map[string]struct{ events, bytes int }{"of events": {2, 1 << 30}, "of bytes": {1000, 450}} {
		t.Run(name, func(t *testing.T) {
			limited(t, limits.events, limits.bytes, func(t *testing.T, w *world, log *bytes.Buffer) {
				require.NoError(t, <-w.seeing(t.Context(), "a"))
				require.NoError(t, <-w.seeing(t.Context(), "b"))
				third, fourth := w.seeing(t.Context(), "c"), w.seeing(t.Context(), "d")
				require.Empty(t, third)
				require.Empty(t, fourth)
				require.Len(t, w.waiting(), 2)
				w.queued[0].Done()
				w.queued[1].Done()
				require.NoError(t, <-third)
				require.NoError(t, <-fourth)
				require.Equal(t, 2, w.state.Waiting())
				require.Equal(t, 1, strings.Count(log.String(), "queue is full, the watch waits"), "said, and seldom")
			})
		})
	}
}

func TestAnInputThatIsKeptCountsUntilItIsNotNeeded(t *testing.T) {
	limited(t, 10, 1000, func(t *testing.T, w *world, _ *bytes.Buffer) {
		require.NoError(t, <-w.seeing(t.Context(), "a"))
		w.waiting()
		w.queued[0].Keep(1, "", make([]byte, 1000))
		next := w.seeing(t.Context(), "b")
		require.Empty(t, next)
		w.queued[0].Keep(0, "", nil)
		require.NoError(t, <-next)
	})
}

func TestAChangeLargerThanTheQueuePassesWhenThereIsRoom(t *testing.T) {
	limited(t, 10, 10, func(t *testing.T, w *world, _ *bytes.Buffer) {
		require.NoError(t, <-w.seeing(t.Context(), "huge"))
		next := w.seeing(t.Context(), "next")
		require.Empty(t, next, "it fills the queue")
		w.waiting()
		w.queued[0].Done()
		require.NoError(t, <-next)
	})
}

func TestWaitingForRoomEndsWithItsContext(t *testing.T) {
	limited(t, 1, 1<<20, func(t *testing.T, w *world, _ *bytes.Buffer) {
		require.NoError(t, <-w.seeing(t.Context(), "a"))
		ctx, cancel := context.WithCancel(t.Context())
		ended, other := w.seeing(ctx, "b"), w.seeing(t.Context(), "c")
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.Nil(t, w.Get("shop/b"), "nothing of it is recorded")
		require.Empty(t, other)
		w.waiting()
		w.queued[0].Done()
		require.NoError(t, <-other)
	})
}

func TestAFullQueueHoldsBackNoObjectsWithoutChanges(t *testing.T) {
	limited(t, 1, 1<<20, func(t *testing.T, w *world, _ *bytes.Buffer) {
		require.NoError(t, <-w.seeing(t.Context(), "a"))
		var objects []*object.Object
		for i := range 1000 {
			objects = append(objects, w.pack(manifest(fmt.Sprint("b", i), "u", 1, "")))
		}
		w.Baseline(objects)
		require.Equal(t, 1001, w.Len())
	})
}

// asking is a log whose lines ask the state something.
type asking struct {
	slog.Handler
	ask func()
}

func (a *asking) Handle(ctx context.Context, r slog.Record) error {
	a.ask()
	return a.Handler.Handle(ctx, r)
}

func TestNoLineIsWrittenUnderTheLock(t *testing.T) {
	var log bytes.Buffer
	handler := &asking{Handler: slog.NewJSONHandler(&log, nil)}
	w := openWorld(t, deployments, state.Config{Events: 1, Bytes: 1 << 20, Logger: slog.New(handler)})
	asked := make(chan int, 1)
	handler.ask = func() { asked <- w.state.Waiting() }
	w.Seen = w.state.Seen(wanted(""), deployments)
	w.see("a", 1, "")
	var tx state.Tx
	require.NoError(t, w.Seen.Put(&tx, w.pack(manifest("b", "u-b", 2, "")), event.ViaWatch))
	done := make(chan error, 1)
	go func() { done <- w.state.Apply(t.Context(), &tx) }()
	ends(t, func() {
		require.Equal(t, 1, <-asked)
		w.state.Queue()[0].Done()
		require.NoError(t, <-done)
	})
	require.Contains(t, log.String(), "queue is full, the watch waits")
}
