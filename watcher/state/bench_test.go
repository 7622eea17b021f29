package state_test

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// updates is a Deployment of 9 KB that is set to another image and back.
type updates struct {
	state  *state.State
	see    func() error
	events chan *event.Event
}

func newUpdates(t testing.TB, dir string) *updates {
	t.Helper()
	w := openWorld(t, deployments, state.Config{Dir: dir, Events: 1000, Bytes: 1 << 30})
	watch := state.Watch{Resource: deployments.Resource, Kind: deployments.Kind, Namespaced: true, Old: state.Always}
	require.NoError(t, w.state.Start(t.Context(), []state.Watch{watch}, nil))
	w.Seen = w.state.Seen(watch, deployments)
	var sides [2][]byte
	for i, name := range []string{"old", "new"} {
		var err error
		sides[i], err = os.ReadFile("../object/testdata/" + name + ".json")
		require.NoError(t, err)
	}
	u := &updates{state: w.state, events: make(chan *event.Event, 1000)}
	w.state.Deliver(func(q *state.Queued) {
		e, err := q.Event()
		if err != nil {
			t.Error(err)
		}
		q.Done()
		u.events <- e
	})
	t.Cleanup(func() { require.NoError(t, w.state.Close()) })
	n := 0
	u.see = func() error {
		n++
		o, err := w.packer.Pack(sides[n%2], nil)
		if err != nil {
			return err
		}
		var tx state.Tx
		if err := w.Seen.Put(&tx, o, event.ViaWatch); err != nil {
			return err
		}
		w.At(&tx, o.ResourceVersion)
		return w.state.Apply(context.Background(), &tx)
	}
	for range 1700 { // until the dictionary is learned
		require.NoError(t, u.see())
		<-u.events
	}
	return u
}

// one sees a change and takes its event.
func (u *updates) one(t testing.TB) {
	if err := u.see(); err != nil {
		t.Fatal(err)
	}
	if e := <-u.events; e.Action != event.Update || len(e.ChangedBy) != 1 {
		t.Fatal(e.Title())
	}
}

// BenchmarkChange is what a change costs from the line of the watch to the
// event. In a file, a hundred are on their way at once.
func BenchmarkChange(b *testing.B) {
	for name, dir := range map[string]string{"memory": "", "file": b.TempDir()} {
		b.Run(name, func(b *testing.B) {
			u := newUpdates(b, dir)
			ahead := 0
			b.ReportAllocs()
			for b.Loop() {
				if err := u.see(); err != nil {
					b.Fatal(err)
				}
				if ahead++; ahead > 100 {
					<-u.events
				}
			}
			for range min(ahead, 100) {
				<-u.events
			}
		})
	}
}

// A fifth more than was measured.
func TestFewAllocationsAChange(t *testing.T) {
	for name, most := range map[string]int{"memory": 113, "file": 280} {
		t.Run(name, func(t *testing.T) {
			dir := ""
			if name == "file" {
				dir = t.TempDir()
			}
			u := newUpdates(t, dir)
			eventtest.Allocs(t, most, func() { u.one(t) })
		})
	}
}
