package chain

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func waiting(name string) *delivery { return &delivery{item: change(name, 1)} }

func TestASleepingLaneIsReadyWhenItsTimeHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(16)
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
		q := newQueue(16)
		start := time.Now()
		q.push(waiting("a"))
		l, _ := q.next()
		q.sleep(l, time.Hour)
		q.close(false)
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
		q := newQueue(16)
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

func TestRepeatedAttemptsTakeHalfOfTheWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(4)
		for n := range 8 { // hang, and are ready again
			q.push(waiting(fmt.Sprint("hanging", n)))
			l, _ := q.next()
			q.sleep(l, time.Minute+time.Duration(n)*time.Second)
		}
		time.Sleep(2 * time.Minute)
		for n := range 10 {
			q.push(waiting(fmt.Sprint("good", n)))
		}
		var taken []string
		for range 6 {
			l, d := q.next()
			taken = append(taken, d.item.(*item).event.Name)
			if strings.HasPrefix(taken[len(taken)-1], "good") {
				q.done(l)
			}
		}
		require.Equal(t, []string{"hanging0", "good0", "hanging1", "good1", "good2", "good3"}, taken)
		q.abort()
	})
}

func TestASingleWorkerTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		for n := range 3 {
			q.push(waiting(fmt.Sprint("hanging", n)))
			l, _ := q.next()
			q.sleep(l, time.Minute+time.Duration(n)*time.Second)
		}
		time.Sleep(2 * time.Minute)
		var taken []string
		for n := range 6 {
			q.push(waiting(fmt.Sprint("good", n)))
			l, d := q.next()
			taken = append(taken, d.item.(*item).event.Name)
			q.done(l)
		}
		require.Equal(t, []string{"hanging0", "good0", "hanging1", "good1", "hanging2", "good2"}, taken)
		q.abort()
	})
}

func TestManyLanesLeaveNothingBehind(t *testing.T) {
	q := newQueue(16)
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
	q := newQueue(16)
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
	q.close(false)
	workers.Wait()
}
