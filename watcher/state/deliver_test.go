package state_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// ids names what is queued, each with its lane.
func ids(t testing.TB, queued []*state.Queued) []string {
	t.Helper()
	out := []string{}
	for _, q := range queued {
		id, subject := q.Name()
		require.NotEmpty(t, subject)
		out = append(out, id)
	}
	return out
}

// delivered are the ids of what was delivered since the last call.
func (w *world) delivered() []string {
	w.t.Helper()
	require.NoError(w.t, w.state.Flush(w.t.Context()))
	w.mu.Lock()
	defer w.mu.Unlock()
	out := ids(w.t, w.queued)
	w.queued = nil
	return out
}

func TestWhatWaitsIsHandedToEachConfigurationOnceAndInOrder(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		w.see("a", 1, "")
		w.see("b", 2, "")
		w.see("a", 3, "")
		queue := w.state.Queue()
		require.Equal(t, []string{"u-a.1.add", "u-b.2.add", "u-a.3.update"}, w.delivered())
		queue[1].Done()
		queue[2].Keep(1, "diff", []byte("input"))

		w.state.Deliver(nil)
		w.see("b", 4, "")
		require.Empty(t, w.delivered(), "nobody asks for it")
		require.NoError(t, w.state.Start(t.Context(), []state.Watch{w.Watch()}, nil))
		w.see("c", 5, "")
		waiting := []string{"u-a.1.add", "u-a.3.update", "u-b.4.update", "u-c.5.add"}
		require.Equal(t, waiting, ids(t, w.state.Queue()))
		keeps(t, w.state.Queue()[1], 1, "diff", []byte("input"))

		w.state.Deliver(w.take)
		w.see("c", 6, "")
		require.Equal(t, append(waiting, "u-c.6.update"), w.delivered())
		require.Equal(t, 5, w.state.Waiting())
	})
}

func TestChangesFromBeforeTheFirstDeliverWait(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		w := openWorld(t, deployments, state.Config{Dir: dir, Events: 100, Bytes: 1 << 20})
		w.Seen = w.state.Seen(wanted(""), deployments)
		w.see("a", 1, `,"spec":{"x":1}`)
		require.Equal(t, []string{"u-a.1.add"}, ids(t, w.state.Queue()), "written or not")
		e, err := w.state.Queue()[0].Event()
		require.NoError(t, err)
		require.Contains(t, string(e.Object), `"x":1`)
		w.state.Queue()[0].Done()
		w.see("b", 2, "")
		require.Equal(t, 1, w.state.Waiting())
		w.state.Deliver(w.take)
		require.Equal(t, []string{"u-b.2.add"}, w.delivered())
	}
}

// A Deliver may come while the journal hands over what was recorded before.
func TestDeliverBetweenWritesKeepsTheOrder(t *testing.T) {
	w := newWorld(t, deployments, t.TempDir())
	for round := range 50 {
		for i := range 20 {
			w.see("web", 20*round+i+1, "")
		}
		w.mu.Lock()
		w.queued = nil
		w.mu.Unlock()
		w.state.Deliver(w.take)
		require.NoError(t, w.state.Flush(t.Context()))
		require.Equal(t, ids(t, w.state.Queue()), w.deliveredOf(20))
		for _, q := range w.state.Queue() {
			q.Done()
		}
	}
}

// deliveredOf are the ids of the last n that were delivered.
func (w *world) deliveredOf(n int) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return ids(w.t, w.queued[len(w.queued)-n:])
}

func TestDiscardedChangesAreGone(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, deployments, dir)
	for i := range 5 {
		w.see(fmt.Sprint("web-", i), i+1, "")
	}
	require.NoError(t, w.state.Close())
	next := openWorld(t, deployments, state.Config{Dir: dir, Events: 100, Bytes: 1 << 20})
	even := func(q *state.Queued) bool { return q.To() == "2" || q.To() == "4" }
	require.NoError(t, next.state.Discard(t.Context(), even))
	require.NoError(t, next.state.Discard(t.Context(), even), "once")
	want := []string{"u-web-0.1.add", "u-web-2.3.add", "u-web-4.5.add"}
	require.Equal(t, want, ids(t, next.state.Queue()))
	require.Equal(t, 3, next.state.Waiting())
	next.state.Deliver(next.take)
	require.Equal(t, want, next.delivered())
	require.NoError(t, next.state.Close())
	require.Equal(t, want, newWorld(t, deployments, dir).delivered())
}

func TestAQueuedChangeSaysFromWhichVersionToWhichItLeads(t *testing.T) {
	type is struct {
		resource       schema.GroupResource
		key, from, to  string
		lane, describe string
	}
	of := func(q *state.Queued) is {
		id, _ := q.Name()
		return is{q.Resource(), q.Key(), q.From(), q.To(), q.Lane(), id}
	}
	dir := t.TempDir()
	for _, dir := range []string{"", dir} {
		w := newWorld(t, deployments, dir)
		w.put(manifest("web", "u1", 7, ""))
		w.put(manifest("web", "u1", 8, ""))
		w.put(manifest("web", "u2", 9, "")) // created anew
		events(w)(w.Remove("shop/web", event.ViaRelist))
		apps := deployments.Resource.GroupResource()
		const key, lane = "shop/web", "deployments.apps/shop/web"
		want := []is{
			{apps, key, "", "7", lane, "u1.7.add"},
			{apps, key, "7", "8", lane, "u1.8.update"},
			{apps, key, "8", "", lane, "u1.8.delete"},
			{apps, key, "", "9", lane, "u2.9.add"},
			{apps, key, "9", "", lane, "u2.9.delete"},
		}
		for range 2 { // as it is recorded, and as it is loaded
			var got []is
			for _, q := range w.state.Queue() {
				got = append(got, of(q))
			}
			require.Equal(t, want, got)
			if dir == "" {
				break
			}
			require.NoError(t, w.state.Close())
			w = newWorld(t, deployments, dir)
		}
	}
}

func TestDoneTwiceIsNoHarm(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		w.see("a", 1, "")
		w.see("b", 2, "")
		w.waiting()
		q := w.queued[0]
		q.Done()
		q.Done()
		q.Keep(1, "", []byte("too late"))
		require.Equal(t, []string{"u-b.2.add"}, ids(t, w.state.Queue()))
		require.Equal(t, 1, w.state.Waiting())
		w.queued[1].Done()
		require.Zero(t, w.state.Waiting())
		require.Zero(t, w.state.WaitingBytes())
	})
}

func TestAStateThatIsClosedTakesNothingMore(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		w.see("a", 1, "")
		q := w.state.Queue()[0]
		require.NoError(t, w.state.Close())
		require.NoError(t, w.state.Close())
		ends(t, func() {
			require.ErrorContains(t, w.state.Apply(t.Context(), &state.Tx{}), "the state is closed")
			require.ErrorContains(t, w.state.Start(t.Context(), nil, nil), "the state is closed")
			require.NoError(t, w.state.Flush(t.Context()))
			q.Keep(1, "", []byte("x"))
			q.Done()
		})
		require.NoError(t, w.state.Err())
	})
}

func TestWhoWaitsForRoomIsToldOfTheEnd(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		w := openWorld(t, deployments, state.Config{Dir: dir, Events: 1, Bytes: 1 << 20})
		w.Seen = w.state.Seen(wanted(""), deployments)
		w.see("a", 1, "")
		var tx state.Tx
		require.NoError(t, w.Seen.Put(&tx, w.pack(manifest("b", "u-b", 2, "")), event.ViaWatch))
		waiting := make(chan error, 1)
		go func() { waiting <- w.state.Apply(context.Background(), &tx) }()
		require.NoError(t, w.state.Close())
		ends(t, func() { require.ErrorContains(t, <-waiting, "the state is closed") })
	}
}

// ends runs what must not block for ever.
func ends(t *testing.T, run func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		require.Fail(t, "it blocks")
	}
}

func TestAStateThatCannotBeWrittenTellsEverybodyAndBlocksNobody(t *testing.T) {
	var tx state.Tx // of each world
	write := map[string]func(*testing.T, *world) error{
		"a change":           func(t *testing.T, w *world) error { return w.state.Apply(t.Context(), &tx) },
		"an acknowledgement": func(_ *testing.T, w *world) error { w.queued[0].Done(); return nil },
		"an input":           func(_ *testing.T, w *world) error { w.queued[0].Keep(1, "", []byte("x")); return nil },
		"a start":            func(t *testing.T, w *world) error { return w.state.Start(t.Context(), nil, nil) },
		"disown":             func(t *testing.T, w *world) error { return w.state.Disown(t.Context()) },
		"a list": func(t *testing.T, w *world) error {
			return w.state.Replace(t.Context(), wanted(""), []*object.Object{w.pack(manifest("c", "u-c", 3, ""))}, false)
		},
	}
	for name, first := range write {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, deployments, t.TempDir())
			w.see("a", 1, "")
			w.waiting()
			q := w.queued[0]
			tx = state.Tx{}
			require.NoError(t, w.Seen.Put(&tx, w.pack(manifest("b", "u-b", 2, "")), event.ViaWatch))
			require.NoError(t, w.state.Err())
			w.state.Break()
			err := first(t, w)
			ends(t, func() { <-w.state.Failed() })
			failed := w.state.Err()
			require.ErrorContains(t, failed, "state.db cannot be written")
			require.NotContains(t, failed.Error(), "\n")
			if err != nil {
				require.Equal(t, failed, err)
			}
			require.Equal(t, "the state cannot be written", w.state.Stuck(time.Now()))
			ends(t, func() {
				for again, write := range write {
					if err := write(t, w); again == "a change" || err != nil {
						require.Equal(t, failed, err, again)
					}
				}
				require.Equal(t, failed, w.state.Flush(t.Context()))
				require.Equal(t, failed, w.state.Discard(t.Context(), func(of *state.Queued) bool { return of != q }))
				w.state.Deliver(nil)
				w.state.Deliver(w.take)
				require.Equal(t, failed, w.state.Close())
				require.Equal(t, failed, w.state.Close(), "again")
			})
		})
	}
}

func TestSomebodyWhoWaitsIsToldThatTheStateFailed(t *testing.T) {
	w := openWorld(t, deployments, state.Config{Dir: t.TempDir(), Events: 1, Bytes: 1 << 20})
	w.Seen = w.state.Seen(wanted(""), deployments)
	w.see("a", 1, "")
	require.NoError(t, w.state.Flush(t.Context()))
	var tx state.Tx
	require.NoError(t, w.Seen.Put(&tx, w.pack(manifest("b", "u-b", 2, "")), event.ViaWatch))
	var waiting sync.WaitGroup
	for range 3 {
		waiting.Go(func() { require.Error(t, w.state.Apply(t.Context(), &tx)) })
	}
	w.state.Break()
	w.state.Queue()[0].Keep(1, "", []byte("x"))
	ends(t, waiting.Wait)
}
