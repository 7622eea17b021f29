package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// missing counts what has not arrived yet.
func (l *ledger) missing(s *sink, merged bool) int { return l.judge(s.got(), merged).missing }

func TestFaultKill(t *testing.T) {
	changes, pause := 2000, 100*time.Millisecond
	if faults(t) {
		changes = 60_000
	}
	const objects = 200
	c := newCluster(t)
	l, s := newLedger(c), newSink(t, nil)
	dir := t.TempDir()
	run := func() *process {
		return c.startWatcher("KW_HANDLERS="+s.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+dir, "KW_RETRY_WAIT_MAX=1s")
	}
	l.createAll(t, objects)
	w := run()
	l.baseline()
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		l.updateAll(t, objects, changes, pause)
	}()
	kills := 0
	for alive := true; alive; {
		select {
		case <-changed:
			alive = false
		case <-time.After(rand.N(time.Second)):
		}
		w.kill()
		kills++
		w = start(t, "watcher", w.cmd.Env...)
	}
	awaitFor(t, 2*time.Minute, func() bool { return l.missing(s, false) == 0 }, "everything arrives")
	require.Equal(t, 0, w.stop())
	require.Equal(t, changes, l.count())
	judged(t, "kill -9 at random moments", fmt.Sprintf("%d times", kills), l.judge(s.got(), false))
}

func TestFaultDown(t *testing.T) {
	rounds := 3
	if faults(t) {
		rounds = 50
	}
	c := newCluster(t)
	l, s := newLedger(c), newSink(t, nil)
	dir := t.TempDir()
	l.createAll(t, 40)
	w := c.startWatcher("KW_HANDLERS="+s.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+dir)
	l.baseline()
	for round := range rounds {
		if round%2 == 0 {
			require.Equal(t, 0, w.stop())
		} else {
			w.kill()
		}
		before := l.ids()
		downtime(t, l, round)
		w = start(t, "watcher", w.cmd.Env...)
		awaitFor(t, time.Minute, func() bool { return l.missing(s, false) == 0 }, "everything arrives")
		times := map[string]int{}
		for _, a := range s.got() {
			times[a.id]++
		}
		for id := range l.ids() {
			if !before[id] {
				require.Equal(t, 1, times[id], "%s arrives once", id)
			}
		}
	}
	require.Equal(t, 0, w.stop())
	judged(t, "watcher down, changes meanwhile", fmt.Sprintf("%d times", rounds), l.judge(s.got(), false))
}

// downtime changes, adds, deletes and makes objects anew.
func downtime(t *testing.T, l *ledger, round int) {
	t.Helper()
	name := func(kind string, i int) string { return fmt.Sprintf("%s-%d-%d", kind, round, i) }
	l.each(t, 20, 10, func(i int) error {
		for range 5 {
			if err := l.update(fmt.Sprint("c", i)); err != nil {
				return err
			}
		}
		if err := l.create(name("added", i)); err != nil {
			return err
		}
		if err := l.create(name("passing", i)); err != nil {
			return err
		}
		if err := l.delete(name("passing", i)); err != nil {
			return err
		}
		if round > 0 {
			if err := l.delete(fmt.Sprintf("added-%d-%d", round-1, i)); err != nil {
				return err
			}
		}
		again := fmt.Sprint("c", 20+i)
		if err := l.delete(again); err != nil {
			return err
		}
		return l.create(again)
	})
}

func TestFaultDownAndHistoryGone(t *testing.T) {
	rounds := 2
	if faults(t) {
		rounds = 20
	}
	c := newCluster(t)
	api := c.apiServer()
	l, s := newLedger(c), newSink(t, nil)
	dir := t.TempDir()
	l.createAll(t, 40)
	w := c.startWatcher("KW_HANDLERS="+s.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+dir)
	l.baseline()
	for round := range rounds {
		w.kill()
		downtime(t, l, round)
		api.stop()
		api.start() // its watch cache begins anew
		w = start(t, "watcher", w.cmd.Env...)
		awaitFor(t, time.Minute, func() bool { return l.missing(s, true) == 0 }, "every final state arrives")
		require.Contains(t, w.stderr.String(), "history is gone", "the gap was one")
	}
	require.Equal(t, 0, w.stop())
	relisted := 0
	for _, a := range s.got() {
		if a.via == "relist" {
			relisted++
		}
	}
	require.Positive(t, relisted)
	judged(t, "watcher down, then 410 Gone", fmt.Sprintf("%d times", rounds), l.judge(s.got(), true))
}

func TestFaultAPIServerRestart(t *testing.T) {
	rounds, minute := 3, time.Minute
	if faults(t) {
		rounds, minute = 20, 10*time.Minute
	}
	c := newCluster(t)
	api := c.apiServer()
	l, s := newLedger(c), newSink(t, nil)
	l.createAll(t, 50)
	w := c.startWatcher("KW_HANDLERS="+s.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+t.TempDir())
	l.baseline()
	changed := make(chan struct{})
	go func() {
		defer close(changed)
		l.updateAll(t, 50, 100*rounds, 300*time.Millisecond)
	}()
	for range rounds {
		time.Sleep(rand.N(2 * time.Second))
		api.stop()
		api.start()
	}
	api.stop()
	time.Sleep(minute) // a minute without one
	api.start()
	<-changed
	l.updateAll(t, 50, 100, 0)
	awaitFor(t, 2*time.Minute, func() bool { return l.missing(s, true) == 0 }, "every final state arrives")
	require.Equal(t, 0, w.stop())
	merged := l.judge(s.got(), true)
	// Where the history survived, which the log tells, nothing may be merged.
	exact := l.judge(s.got(), false)
	t.Logf("%d of %d changes are merged", exact.missing, exact.sent)
	if exact.missing > 0 {
		require.Contains(t, w.stderr.String(), "changes in between are merged", "%d are merged", exact.missing)
	}
	judged(t, fmt.Sprintf("API server killed, then gone for %s", minute), fmt.Sprintf("%d + 1 times", rounds), merged)
}
