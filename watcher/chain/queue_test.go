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

// nameOf is the object that a delivery is about; empty for none.
func nameOf(d *delivery) string {
	if d == nil {
		return ""
	}
	return d.item.(*item).event.Name
}

func TestASleepingLaneIsReadyWhenItsTimeHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		start := time.Now()
		for i, name := range []string{"long", "short"} {
			q.add(waiting(name))
			q.addAfter(q.get(eitherKind), time.Duration(2-i)*time.Minute)
		}
		for i, want := range []string{"short", "long"} {
			d := q.get(eitherKind)
			require.Equal(t, want, nameOf(d))
			require.Equal(t, time.Duration(i+1)*time.Minute, time.Since(start))
			q.done(d)
		}
	})
}

func TestADrainWakesSleepersAndLetsNoneSleepLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		start := time.Now()
		q.add(waiting("a"))
		q.addAfter(q.get(eitherKind), time.Hour)
		q.shutDownWithDrain()
		d := q.get(eitherKind)
		require.Zero(t, time.Since(start))
		q.addAfter(d, time.Hour)
		d = q.get(eitherKind)
		require.Equal(t, stopWait, time.Since(start))
		q.done(d)
		require.Nil(t, q.get(eitherKind))
	})
}

func TestAShutDownHandsOutNothingMoreAndLeavesNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		for _, name := range []string{"asleep", "back", "taken"} {
			q.add(waiting(name))
		}
		d := q.get(eitherKind)
		q.addAfter(d, time.Hour)
		back, taken := q.get(eitherKind), q.get(freshOnly)
		var workers sync.WaitGroup
		for i := range 4 {
			workers.Go(func() {
				if q.get(roleOf(i, 4)) != nil {
					t.Error("a lane was handed out")
				}
			})
		}
		synctest.Wait()
		q.shutDown()
		workers.Wait()
		require.Nil(t, d.lane.timer)
		q.addAfter(back, time.Hour)
		require.Nil(t, back.lane.timer, "it sleeps for good")
		require.Len(t, q.left(), 3)
		q.done(taken)
		require.Len(t, q.left(), 2)
	})
}

// tried has items asleep for a minute and some seconds, so that they are ready in
// the order of their names when two minutes are over.
func tried(q *queue, names ...string) {
	for n, name := range names {
		q.add(waiting(name))
		q.addAfter(q.get(eitherKind), time.Minute+time.Duration(n)*time.Second)
	}
	time.Sleep(2 * time.Minute)
}

func TestHalfOfTheWorkersTakeFreshLanesOnly(t *testing.T) {
	for workers, either := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 16: 8} {
		n := 0
		for i := range workers {
			if roleOf(i, workers) == eitherKind {
				n++
			}
		}
		require.Equal(t, either, n, "of %d", workers)
	}
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		tried(q, "hanging0", "hanging1", "hanging2", "hanging3")
		for n := range 3 {
			q.add(waiting(fmt.Sprint("good", n)))
		}
		var taken []string
		for _, r := range []role{freshOnly, eitherKind, freshOnly, eitherKind} {
			taken = append(taken, nameOf(q.get(r)))
		}
		require.Equal(t, []string{"good0", "hanging0", "good1", "hanging1"}, taken)
		q.shutDown()
	})
}

func TestTheLaneThatHasBeenReadyLongestGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.add(waiting("early"))
		early := q.get(eitherKind)
		tried(q, "hanging0")
		q.add(waiting("good0"))
		q.done(early)
		q.add(waiting("good1"))
		var taken []string
		for range 3 {
			d := q.get(eitherKind)
			taken = append(taken, nameOf(d))
			q.done(d)
		}
		require.Equal(t, []string{"hanging0", "good0", "good1"}, taken)
	})
}

// A fresh lane wakes rather a worker that takes nothing else, and one that was tried
// never wakes a worker that cannot take it.
func TestALaneWakesAWorkerThatMayTakeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.add(waiting("hanging"))
		q.addAfter(q.get(eitherKind), time.Hour)
		var mu sync.Mutex
		taken := map[role][]string{}
		for i := range 4 {
			go func() {
				d := q.get(roleOf(i, 4))
				mu.Lock()
				defer mu.Unlock()
				taken[roleOf(i, 4)] = append(taken[roleOf(i, 4)], nameOf(d))
			}()
		}
		look := func(want map[role][]string) {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			require.Equal(t, want, taken)
		}
		look(map[role][]string{})
		q.add(waiting("good0"))
		look(map[role][]string{freshOnly: {"good0"}})
		time.Sleep(2 * time.Hour)
		look(map[role][]string{freshOnly: {"good0"}, eitherKind: {"hanging"}})
		q.add(waiting("good1"))
		look(map[role][]string{freshOnly: {"good0", "good1"}, eitherKind: {"hanging"}})
		q.add(waiting("good2"))
		look(map[role][]string{freshOnly: {"good0", "good1"}, eitherKind: {"hanging", "good2"}})
		q.shutDown()
	})
}

// Whichever of the workers that were woken comes first, none sleeps beside a lane
// that it may take.
func TestNoWakeUpIsLost(t *testing.T) {
	for range 2000 {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue()
			for _, name := range []string{"hanging0", "hanging1"} {
				q.add(waiting(name))
				q.addAfter(q.get(eitherKind), time.Hour)
			}
			q.add(waiting("good"))
			good := q.get(freshOnly)
			got := make(chan string, 6)
			for i := range 6 {
				go func() { got <- nameOf(q.get(roleOf(i, 6))) }()
			}
			synctest.Wait()
			q.mu.Lock() // all at once, so that the workers run for the lock
			q.ready(good.lane)
			for _, l := range q.lanes {
				if l.timer != nil {
					q.ready(l)
				}
			}
			q.mu.Unlock()
			synctest.Wait()
			require.Len(t, got, 3, "each lane has its worker")
			q.shutDown()
		})
	}
}

func TestManyLanesLeaveNothingBehind(t *testing.T) {
	q := newQueue()
	for range 50 {
		for n := range 1000 {
			q.add(waiting(fmt.Sprint(n)))
		}
		for range 1000 {
			q.done(q.get(freshOnly))
		}
	}
	require.Zero(t, q.len())
	require.Empty(t, q.lanes)
	require.LessOrEqual(t, cap(q.fresh), 2048, "the list of ready lanes does not grow with time")
}

func BenchmarkSixteenWorkers(b *testing.B) {
	q := newQueue()
	var workers sync.WaitGroup
	for i := range 16 {
		workers.Go(func() {
			r := roleOf(i, 16)
			for d := q.get(r); d != nil; d = q.get(r) {
				q.done(d)
			}
		})
	}
	items := make([]*delivery, 1000)
	for i := range items {
		items[i] = waiting(fmt.Sprint(i))
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		q.add(items[n%len(items)])
	}
	q.shutDownWithDrain()
	workers.Wait()
}
