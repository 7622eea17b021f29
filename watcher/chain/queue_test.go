package chain

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func waiting(name string, size int) *delivery {
	i := change(name, 1)
	i.size = size
	return &delivery{item: i, size: size}
}

// pushing pushes in the background and tells when it is through.
func pushing(ctx context.Context, q *queue, d *delivery) <-chan error {
	pushed := make(chan error, 1)
	go func() { pushed <- q.push(ctx, d, nil) }()
	synctest.Wait()
	return pushed
}

func TestPushBlocksWhileTheQueueIsFullAndResumes(t *testing.T) {
	for name, limits := range map[string]struct{ items, bytes int }{
		"of events": {2, 1 << 30}, "of bytes": {1000, 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(limits.items, limits.bytes)
				require.NoError(t, <-pushing(t.Context(), q, waiting("a", 100)))
				require.NoError(t, <-pushing(t.Context(), q, waiting("b", 100)))
				third := pushing(t.Context(), q, waiting("c", 100))
				fourth := pushing(t.Context(), q, waiting("d", 100))
				require.Empty(t, third)
				require.Empty(t, fourth)
				for range 4 {
					l, _ := q.next()
					q.done(l)
				}
				require.NoError(t, <-third)
				require.NoError(t, <-fourth)
				require.Zero(t, q.bytes)
			})
		})
	}
}

func TestPushResumesWhenAWaitingItemShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(10, 150)
		d := waiting("a", 100)
		require.NoError(t, q.push(t.Context(), d, nil))
		q.resize(d, 300)
		pushed := pushing(t.Context(), q, waiting("b", 100))
		require.Empty(t, pushed)
		q.resize(d, 100)
		require.NoError(t, <-pushed)
		require.Equal(t, 200, q.bytes)
	})
}

func TestAnItemLargerThanTheQueuePassesWhenThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(10, 100)
		require.NoError(t, q.push(t.Context(), waiting("huge", 5000), nil))
		next := pushing(t.Context(), q, waiting("small", 1))
		require.Empty(t, next, "it fills the queue")
		l, _ := q.next()
		q.done(l)
		require.NoError(t, <-next)
		// One small item that is tried again and again must not hold it up.
		l, _ = q.next()
		require.True(t, q.sleep(l, time.Hour))
		require.NoError(t, q.push(t.Context(), waiting("huge", 5000), nil))
		q.abort()
	})
}

func TestPushEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1, 100)
		require.NoError(t, q.push(t.Context(), waiting("a", 1), nil))
		ctx, cancel := context.WithCancel(t.Context())
		ended := pushing(ctx, q, waiting("b", 1))
		other := pushing(t.Context(), q, waiting("c", 1))
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		require.ErrorIs(t, q.push(ctx, waiting("d", 1), nil), context.Canceled)
		require.Empty(t, other)
		l, _ := q.next()
		q.done(l)
		require.NoError(t, <-other)
		require.Equal(t, 1, q.len())
	})
}

func TestASleepingLaneIsReadyWhenItsTimeHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(10, 100)
		start := time.Now()
		for i, name := range []string{"long", "short"} {
			require.NoError(t, q.push(t.Context(), waiting(name, 1), nil))
			l, _ := q.next()
			require.True(t, q.sleep(l, time.Duration(2-i)*time.Minute))
		}
		for i, want := range []string{"short", "long"} {
			l, d := q.next()
			require.Equal(t, want+".1.update", d.item.ID())
			require.Equal(t, time.Duration(i+1)*time.Minute, time.Since(start))
			q.done(l)
		}
	})
}

func TestCloseWakesSleepersAndLetsNoneSleepLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(10, 100)
		start := time.Now()
		require.NoError(t, q.push(t.Context(), waiting("a", 1), nil))
		l, _ := q.next()
		require.True(t, q.sleep(l, time.Hour))
		q.close()
		l, _ = q.next()
		require.Zero(t, time.Since(start))
		require.True(t, q.sleep(l, time.Hour))
		l, _ = q.next()
		require.Equal(t, stopWait, time.Since(start))
		q.done(l)
		l, _ = q.next()
		require.Nil(t, l)
	})
}

func TestAbortHandsOutNothingMoreAndLeavesNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(10, 100)
		for _, name := range []string{"asleep", "ready", "taken"} {
			require.NoError(t, q.push(t.Context(), waiting(name, 1), nil))
		}
		l, _ := q.next()
		require.True(t, q.sleep(l, time.Hour))
		_, _ = q.next() // "ready", which a worker has and gives back
		var workers sync.WaitGroup
		_, _ = q.next()
		for range 3 {
			workers.Go(func() {
				l, _ := q.next()
				if l != nil {
					t.Error("a lane was handed out")
				}
			})
		}
		synctest.Wait()
		q.abort()
		workers.Wait()
		require.Nil(t, l.timer)
		require.False(t, q.sleep(l, time.Hour))
		require.Len(t, q.left(), 3)
	})
}

func TestManyLanesLeaveNothingBehind(t *testing.T) {
	q := newQueue(1<<20, 1<<30)
	for range 50 {
		for n := range 1000 {
			require.NoError(t, q.push(t.Context(), waiting(fmt.Sprint(n), 10), nil))
		}
		for range 1000 {
			l, d := q.next()
			q.resize(d, 25)
			q.done(l)
		}
	}
	require.Zero(t, q.bytes)
	require.Zero(t, q.len())
	require.Empty(t, q.lanes)
	require.LessOrEqual(t, cap(q.ready), 2048, "the list of ready lanes does not grow with time")
}

func BenchmarkSixteenWorkers(b *testing.B) {
	q := newQueue(10_000, 1<<30)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for l, _ := q.next(); l != nil; l, _ = q.next() {
				q.done(l)
			}
		})
	}
	items := make([]*delivery, 1000)
	for i := range items {
		items[i] = waiting(fmt.Sprint(i), 10)
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		_ = q.push(b.Context(), items[n%len(items)], nil)
	}
	q.close()
	workers.Wait()
}
