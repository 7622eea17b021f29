package chain

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func waiting(name string) *delivery { return &delivery{item: change(name, 1)} }

func TestASleepingLaneIsReadyWhenItsTimeHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(false)
		start := time.Now()
		for i, name := range []string{"long", "short"} {
			q.push(waiting(name))
			l, _ := q.next()
			q.sleep(l, time.Duration(2-i)*time.Minute)
		}
		for i, want := range []string{"short", "long"} {
			l, d := q.next()
			require.Equal(t, want, d.item.(*item).event.Name)
			require.Equal(t, time.Duration(i+1)*time.Minute, time.Since(start))
			q.done(l)
		}
	})
}

func TestCloseWakesSleepersAndLetsNoneSleepLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(false)
		start := time.Now()
		q.push(waiting("a"))
		l, _ := q.next()
		q.sleep(l, time.Hour)
		q.close()
		l, _ = q.next()
		require.Zero(t, time.Since(start))
		q.sleep(l, time.Hour)
		l, _ = q.next()
		require.Equal(t, stopWait, time.Since(start))
		q.done(l)
		l, _ = q.next()
		require.Nil(t, l)
	})
}

func TestAbortHandsOutNothingMoreAndLeavesNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(false)
		for _, name := range []string{"asleep", "ready", "taken"} {
			q.push(waiting(name))
		}
		l, _ := q.next()
		q.sleep(l, time.Hour)
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
		q.sleep(l, time.Hour)
		require.Nil(t, l.timer, "it sleeps for good")
		require.Len(t, q.left(), 3)
	})
}

func TestManyLanesLeaveNothingBehind(t *testing.T) {
	q := newQueue(false)
	for range 50 {
		for n := range 1000 {
			q.push(waiting(fmt.Sprint(n)))
		}
		for range 1000 {
			l, _ := q.next()
			q.done(l)
		}
	}
	require.Zero(t, q.len())
	require.Empty(t, q.lanes)
	require.LessOrEqual(t, cap(q.ready), 2048, "the list of ready lanes does not grow with time")
}

func BenchmarkSixteenWorkers(b *testing.B) {
	q := newQueue(false)
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
		items[i] = waiting(fmt.Sprint(i))
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		q.push(items[n%len(items)])
	}
	q.close()
	workers.Wait()
}
