package state_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// marked is a world that keeps its watermarks; then are those of before.
func marked(t *testing.T, dir string, then *state.Marks) *world {
	t.Helper()
	w := openWorld(t, deployments, state.Config{Dir: dir, Events: 1000, Bytes: 1 << 30})
	w.state.Follow(then)
	kept, _ := w.state.Kept()
	watch := state.Watch{
		Name: "deployments", Resource: deployments.Resource, Kind: deployments.Kind, Namespaced: true, Old: state.Always,
	}.Adopt(kept)
	require.NoError(t, w.state.Start(t.Context(), []state.Watch{watch}, state.Since{{Name: "deployments"}: 1}))
	w.Seen = w.state.Seen(watch, deployments)
	w.state.Deliver(w.take)
	return w
}

// mark is the watermark of the one watch, or nothing.
func (w *world) mark() string {
	w.t.Helper()
	marks := w.state.Marks(3)
	require.LessOrEqual(w.t, len(marks.Watches), 1)
	if len(marks.Watches) == 0 {
		return ""
	}
	return marks.Watches[0].Version
}

// sees puts a version of an object, as a watch does.
func (w *world) sees(name, version string) {
	w.t.Helper()
	_, err := w.apply(func(t *state.Tx) error {
		if err := w.Seen.Put(t, w.deployment(name, version), event.ViaWatch); err != nil {
			return err
		}
		w.At(t, version)
		return nil
	})
	require.NoError(w.t, err)
}

func (w *world) deployment(name, version string) *object.Object {
	w.t.Helper()
	o, err := w.packer.Pack(fmt.Appendf(nil, `{"metadata":{"name":%q,"namespace":"shop","uid":%q,"resourceVersion":%q}}`, name, "uid-"+name, version), nil)
	require.NoError(w.t, err)
	return o
}

func (w *world) listed(version string) {
	w.t.Helper()
	_, err := w.apply(func(t *state.Tx) error {
		w.Listed(t, version)
		return nil
	})
	require.NoError(w.t, err)
}

// handed are the changes that are handed over, once all is written.
func (w *world) handed() []*state.Queued {
	w.t.Helper()
	require.NoError(w.t, w.state.Flush(w.t.Context()))
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queued
}

func TestAWatermarkIsBelowEachChangeThatIsNotAcknowledged(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		w := marked(t, dir, &state.Marks{})
		require.Empty(t, w.mark(), "before the first list there is none")
		w.listed("10")
		require.Equal(t, "10", w.mark())
		w.sees("a", "11")
		w.sees("b", "12")
		w.sees("a", "13")
		require.Equal(t, "10", w.mark(), "none of three is acknowledged")
		queued := w.handed()
		require.Len(t, queued, 3)
		queued[1].Done()
		require.Equal(t, "10", w.mark(), "the first is not")
		require.Equal(t, "13", w.state.Marks(3).Watches[0].Seen)
		queued[0].Done()
		require.Equal(t, "12", w.mark(), "the third is not")
		queued[2].Done()
		require.Equal(t, "13", w.mark())
		require.Empty(t, w.state.Marks(3).Watches[0].Seen, "it is the same")
	}
}

func TestAWatermarkStaysWhileAListIsCompared(t *testing.T) {
	w := marked(t, "", &state.Marks{})
	w.listed("10")
	_, err := w.apply(func(t *state.Tx) error {
		w.At(t, "")
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "10", w.mark())
	_, err = w.Put(w.deployment("a", "18"), event.ViaRelist)
	require.NoError(t, err)
	w.listed("20")
	require.Equal(t, "10", w.mark(), "a change of the list waits")
	w.handed()[0].Done()
	require.Equal(t, "20", w.mark())
}

func TestTheWatermarksOfBeforeHoldUntilWhatWasLeftIsAcknowledged(t *testing.T) {
	dir := t.TempDir()
	w := marked(t, dir, &state.Marks{})
	w.listed("10")
	w.sees("a", "11")
	w.handed()
	before := w.state.Marks(3)
	require.NoError(t, w.state.Close())
	next := marked(t, dir, before)
	require.Len(t, next.queued, 1)
	require.Equal(t, "10", next.mark(), "its watch is at 11, but a change waits")
	next.queued[0].Done()
	require.Equal(t, "11", next.mark())
}

func TestMarksAreReadAsTheyWereWritten(t *testing.T) {
	w := marked(t, "", &state.Marks{})
	w.listed("10")
	marks := w.state.Marks(3)
	text := marks.Text(w.codec)
	require.Contains(t, text, `"Version":"10"`, "people can read a short one")
	read, err := state.ParseMarks(text, w.codec)
	require.NoError(t, err)
	require.Equal(t, marks, read)
	for i := range 500 {
		m := marks.Watches[0]
		m.Namespace = fmt.Sprint("team-", i)
		marks.Watches = append(marks.Watches, m)
	}
	text = marks.Text(w.codec)
	require.Less(t, len(text), 16<<10, "501 watches")
	read, err = state.ParseMarks(text, w.codec)
	require.NoError(t, err)
	require.Equal(t, marks, read)
}

func TestWhatAnotherLeaderHasLeftTakesThePlaceOfWhatWasSeen(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		if dir != "" {
			w := marked(t, dir, &state.Marks{})
			w.listed("10")
			w.sees("old", "11")
			w.sees("stays", "12")
			w.handed()
			require.NoError(t, w.state.Close())
		}
		w := openWorld(t, deployments, state.Config{Dir: dir, Events: 1000, Bytes: 1 << 30})
		watch := state.Watch{
			Name: "deployments", Resource: deployments.Resource, Kind: deployments.Kind, Namespaced: true, All: true, Version: "20",
		}
		if dir != "" {
			require.NoError(t, w.state.Disown(t.Context()))
		}
		require.NoError(t, w.state.Replace(t.Context(), watch, []*object.Object{w.deployment("one", "18")}, false))
		require.NoError(t, w.state.Replace(t.Context(), watch, []*object.Object{w.deployment("two", "19")}, true))
		w.state.Adopt([]state.Watch{watch}, state.Since{{Name: "deployments"}: 1})
		require.NoError(t, w.state.Discard(t.Context(), func(q *state.Queued) bool { return q.To() != "12" }))
		queue := w.state.Queue()
		if dir == "" {
			require.Empty(t, queue)
		} else {
			require.Len(t, queue, 1, "one of two is wanted")
			id, _ := queue[0].Name()
			require.True(t, strings.HasSuffix(id, ".12.add"), id)
			require.Equal(t, 1, w.state.Waiting())
		}
		w.state.SetEpoch(4)
		require.NoError(t, w.state.Start(t.Context(), []state.Watch{watch}, nil))
		w.Seen = w.state.Seen(watch, deployments)
		w.state.Deliver(w.take)
		require.Equal(t, 2, w.Len())
		changes, err := w.Put(w.deployment("one", "21"), event.ViaWatch)
		require.NoError(t, err)
		require.Len(t, changes, 1)
		require.Equal(t, event.Update, changes[0].Action(), "its old object is known")
		require.NoError(t, w.state.Close())
		if dir != "" {
			again := openWorld(t, deployments, state.Config{Dir: dir, Events: 1000, Bytes: 1 << 30})
			require.EqualValues(t, 4, again.state.Epoch())
			require.NoError(t, again.state.Disown(t.Context()))
			require.NoError(t, again.state.Close())
			again = openWorld(t, deployments, state.Config{Dir: dir, Events: 1000, Bytes: 1 << 30})
			require.Negative(t, again.state.Epoch())
			require.NoError(t, again.state.Close())
		}
	}
}

func TestAnotherRunForgetsWhatItDoesNotLookAt(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		w.sees("a", "11")
		require.Len(t, w.handed(), 1)
		w.queued[0].Keep(1, "", []byte("between two steps"))
		other := state.Watch{Name: "nodes", Resource: nodes.Resource, Kind: nodes.Kind, Old: state.Always}
		require.NoError(t, w.state.Start(t.Context(), []state.Watch{other}, nil))
		require.Zero(t, w.Len(), "the objects of a watch that is no more")
		kept, err := w.queued[0].Kept()
		require.NoError(t, err)
		require.Equal(t, "between two steps", string(kept), "what waits goes on")
		_, err = w.queued[0].Event()
		require.NoError(t, err)
		watches, _ := w.state.Kept()
		require.Equal(t, []state.Watch{other}, watches)
	})
}

func FuzzParseMarks(f *testing.F) {
	zip, err := object.NewCompressor()
	require.NoError(f, err)
	marks := state.Marks{Epoch: 3, Watches: []state.Mark{{Watch: state.Watch{Name: "deploy", Resource: deployments.Resource, Version: "10", All: true}, At: 5}}}
	f.Add(marks.Text(zip))
	for range 40 {
		marks.Watches = append(marks.Watches, marks.Watches[0])
	}
	f.Add(marks.Text(zip))
	f.Add("zstd:AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := state.ParseMarks(text, zip)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		again, err := state.ParseMarks(m.Text(zip), zip)
		require.NoError(t, err)
		require.Equal(t, m, again)
	})
}
