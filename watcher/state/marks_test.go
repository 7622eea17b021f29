package state_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// marked is a world that keeps its watermarks; then are those of before.
func marked(t *testing.T, dir string, then *state.Marks) *world {
	t.Helper()
	w := openWorld(t, deployments, state.Config{Dir: dir, Events: 1000, Bytes: 1 << 30})
	w.state.Follow(then, nil)
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

// waits says what waits of the one watch: key from→to, with what is told as
// deleted.
func (w *world) waits() (out []string) {
	w.t.Helper()
	for _, m := range w.state.Marks(3).Watches {
		for _, o := range m.Waiting {
			out = append(out, fmt.Sprintf("%s %s→%s%s", strings.TrimPrefix(o.Key, "shop/"), o.From, strings.Join(append(o.Deleted, ""), "†"), o.To))
		}
	}
	return out
}

// goes puts the end of an object, as a watch does.
func (w *world) goes(name, version string) {
	w.t.Helper()
	_, err := w.apply(func(t *state.Tx) error {
		if err := w.Seen.Remove(t, object.Key("shop", name), event.ViaWatch); err != nil {
			return err
		}
		w.At(t, version)
		return nil
	})
	require.NoError(w.t, err)
}

func TestAWatermarkNamesWhatIsNotAcknowledged(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		w := marked(t, dir, &state.Marks{})
		require.Empty(t, w.mark(), "before the first list there is none")
		w.listed("10")
		require.Equal(t, "10", w.mark())
		w.sees("a", "11")
		w.sees("b", "12")
		w.sees("a", "13")
		require.Equal(t, "13", w.mark(), "what waits holds nothing back")
		require.Equal(t, []string{"a →13", "b →12"}, w.waits())
		queued := w.handed()
		require.Len(t, queued, 3)
		queued[1].Done()
		require.Equal(t, []string{"a →13"}, w.waits())
		queued[0].Done()
		require.Equal(t, []string{"a 11→13"}, w.waits(), "the first of two is told")
		w.goes("a", "14")
		w.sees("a", "15")
		require.Equal(t, []string{"a 11→13†15"}, w.waits(), "and that it was deleted in between")
		queued[2].Done()
		require.Equal(t, []string{"a 13→13†15"}, w.waits())
		for _, q := range w.handed()[3:] {
			q.Done()
		}
		require.Empty(t, w.waits())
		require.Equal(t, "15", w.mark())
	}
}

// B2: one change that an endpoint refuses for ever costs nothing with every other
// one.
func TestWhatWaitsBehindOneChangeThatIsStuckDoesNotGrow(t *testing.T) {
	w := marked(t, "", &state.Marks{})
	w.listed("10")
	w.sees("stuck", "11")
	for i := range 10_000 {
		w.sees("other", fmt.Sprint(12+i))
		last := w.handed()
		last[len(last)-1].Done()
		if i%1000 == 0 {
			w.dropHanded()
		}
	}
	require.Equal(t, []string{"stuck →11"}, w.waits())
	require.Len(t, w.state.Queue(), 1)
	require.Less(t, len(w.state.Marks(3).Text(w.codec)), 1000)
}

// dropHanded forgets what was handed over.
func (w *world) dropHanded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queued = nil
}

func TestAWatermarkIsHeldBackWhereTooMuchWaitsToBeNamed(t *testing.T) {
	w := marked(t, "", &state.Marks{})
	w.listed("10")
	for i := range 501 {
		w.sees(fmt.Sprint("c", i), fmt.Sprint(100+i))
	}
	m := w.state.Marks(3).Watches[0]
	require.Equal(t, "10", m.Version, "all of it comes after it")
	require.Equal(t, "600", m.Seen)
	require.LessOrEqual(t, m.At, time.Now().Unix()-10, "no later than the first of it")
	require.Empty(t, m.Waiting)
	w.handed()[0].Done()
	m = w.state.Marks(3).Watches[0]
	require.Equal(t, "600", m.Version)
	require.Len(t, m.Waiting, 500)
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
	require.Equal(t, "10", w.mark())
	require.Empty(t, w.waits(), "it comes again after 10")
	w.listed("20")
	require.Equal(t, "20", w.mark())
	require.Equal(t, []string{"a →18"}, w.waits())
	w.handed()[0].Done()
	require.Empty(t, w.waits())
}

func TestWhatAnEarlierRunHasLeftIsNamedToo(t *testing.T) {
	dir := t.TempDir()
	w := marked(t, dir, &state.Marks{})
	w.listed("10")
	w.sees("a", "11")
	w.handed()
	before := w.state.Marks(3)
	require.NoError(t, w.state.Close())
	next := marked(t, dir, before)
	require.Equal(t, "11", next.mark())
	require.Equal(t, []string{"a →11"}, next.waits())
	next.handed()[0].Done()
	require.Equal(t, "11", next.mark())
	require.Empty(t, next.waits())
}

// watchOf is a watch of Deployments.
func watchOf(namespace, version string) state.Watch {
	return state.Watch{
		Name: "deployments", Resource: deployments.Resource, Kind: deployments.Kind, Namespaced: true, Namespace: namespace,
		Version: version, All: version != "",
	}
}

// text says what marks hold: place version, with what waits.
func textOf(marks *state.Marks) (out []string) {
	for _, m := range marks.Watches {
		line := fmt.Sprintf("%q %s", m.Namespace, m.Version)
		if m.Ended {
			line += " ended"
		}
		for _, o := range m.Waiting {
			line += fmt.Sprintf(" %s:%s→%s", o.Key, o.From, o.To)
		}
		out = append(out, line)
	}
	return out
}

// B3: a configuration that takes a namespace away does not drop what waits of it,
// nor, B4, the mark that another one begins with.
func TestAReloadKeepsTheMarksOfWhatWaits(t *testing.T) {
	w := marked(t, "", &state.Marks{})
	w.listed("10")
	w.sees("a", "11") // in namespace shop
	w.sees("b", "12")
	restart := func(watches ...state.Watch) {
		require.NoError(t, w.state.Start(t.Context(), watches, nil))
	}
	restart(watchOf("other", "12"))
	require.Equal(t, []string{`"" 12 ended shop/a:→11 shop/b:→12`, `"other" 12`}, textOf(w.state.Marks(3)))
	w.handed()[0].Done()
	require.Equal(t, []string{`"" 12 ended shop/b:→12`, `"other" 12`}, textOf(w.state.Marks(3)))

	restart(watchOf("", "")) // wider again: it has to be listed first
	require.Equal(t, []string{`"" 12 ended shop/b:→12`, `"other" 12`}, textOf(w.state.Marks(3)), "until then the mark of before holds")
	restart(watchOf("shop", ""))
	require.Equal(t, []string{`"shop" 12 ended shop/b:→12`}, textOf(w.state.Marks(3)))
	w.handed()[1].Done()
	restart(watchOf("shop", "20"))
	require.Equal(t, []string{`"shop" 20`}, textOf(w.state.Marks(3)))
}

// B4: a leader that dies in its first list leaves what the one before had left.
func TestMarksOfBeforeHoldUntilTheFirstList(t *testing.T) {
	before := &state.Marks{Watches: []state.Mark{
		{Watch: watchOf("shop", "10"), At: 5},
		{Watch: watchOf("other", "11"), At: 5},
		{Watch: state.Watch{Name: "nodes", Resource: nodes.Resource, Kind: nodes.Kind, Version: "9"}, At: 5},
	}}
	w := marked(t, "", before) // of all namespaces
	require.Equal(t, []string{`"shop" 10`, `"other" 11`}, textOf(w.state.Marks(3)), "and nobody watches nodes any more")
	w.listed("20")
	require.Equal(t, []string{`"" 20`}, textOf(w.state.Marks(3)))
}

// B15: what could not be read is named until something newer of the object is told.
func TestWhatIsOwedIsNamedUntilSomethingNewerIsTold(t *testing.T) {
	w := openWorld(t, deployments, state.Config{Events: 1000, Bytes: 1 << 30})
	owed := func(key string) state.Owed {
		return state.Owed{Watch: watchOf("", "10"), WaitingObject: state.WaitingObject{Key: key, From: "7", To: "8"}}
	}
	w.state.Follow(&state.Marks{}, []state.Owed{owed("shop/a"), owed("gone/b")})
	require.NoError(t, w.state.Start(t.Context(), []state.Watch{watchOf("", "20")}, nil))
	w.Seen = w.state.Seen(watchOf("", "20"), deployments)
	w.state.Deliver(w.take)
	got := textOf(w.state.Marks(3))
	require.Len(t, got, 1)
	require.Contains(t, got[0], "shop/a:7→8")
	require.Contains(t, got[0], "gone/b:7→8")
	w.sees("a", "21")
	w.handed()[0].Done()
	require.Equal(t, []string{`"" 21 gone/b:7→8`}, textOf(w.state.Marks(3)))
}

// amid begins a comparison with a list, as a source does.
func (w *world) amid() {
	w.t.Helper()
	_, err := w.apply(func(t *state.Tx) error {
		w.At(t, "")
		return nil
	})
	require.NoError(w.t, err)
}

// What a comparison has found comes again after the mark of before, until the list is
// through: then it is named, whatever became of its watch meanwhile.
func TestWhatAComparisonFindsIsNamedOnceTheMarkIsBehindIt(t *testing.T) {
	w := marked(t, "", &state.Marks{})
	w.listed("10")
	w.amid()
	_, err := w.Put(w.deployment("a", "18"), event.ViaRelist)
	require.NoError(t, err)
	require.Equal(t, []string{`"" 10`}, textOf(w.state.Marks(3)))

	shop := watchOf("shop", "") // a reload
	require.NoError(t, w.state.Start(t.Context(), []state.Watch{shop}, nil))
	require.Equal(t, []string{`"" 10`}, textOf(w.state.Marks(3)))
	w.Seen = w.state.Seen(shop, deployments)
	w.listed("30")
	require.Equal(t, []string{`"shop" 30 shop/a:→18`}, textOf(w.state.Marks(3)))

	w.Rescope(deployments) // another served version
	w.amid()
	_, err = w.Put(w.deployment("b", "31"), event.ViaRelist)
	require.NoError(t, err)
	require.Equal(t, []string{`"shop" 30 shop/a:→18`}, textOf(w.state.Marks(3)))
}

func TestDeletesOfAResourceThatGoesAreNamed(t *testing.T) {
	w := marked(t, "", &state.Marks{})
	w.listed("10")
	w.sees("a", "11")
	w.handed()[0].Done()
	w.amid() // the list that is not found
	_, err := w.Remove(object.Key("shop", "a"), event.ViaRelist)
	require.NoError(t, err)
	_, err = w.apply(func(t *state.Tx) error {
		w.Drop(t)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{`"" 11 ended shop/a:11→`}, textOf(w.state.Marks(3)))
}

func TestARestartAmidAComparisonNamesNothingBehindTheMark(t *testing.T) {
	dir := t.TempDir()
	w := marked(t, dir, &state.Marks{})
	w.listed("10")
	before := w.state.Marks(3)
	w.amid()
	_, err := w.Put(w.deployment("a", "18"), event.ViaRelist)
	require.NoError(t, err)
	w.handed()
	require.NoError(t, w.state.Close())
	next := marked(t, dir, before)
	require.Equal(t, []string{`"" 10`}, textOf(next.state.Marks(3)))
	next.listed("20")
	require.Equal(t, []string{`"" 20 shop/a:→18`}, textOf(next.state.Marks(3)))
}

// One mark names all that waits of an object, over a reload too.
func TestAnObjectIsNamedInOneMark(t *testing.T) {
	w := marked(t, "", &state.Marks{})
	w.listed("10")
	w.sees("a", "11")
	w.sees("a", "12")
	shop := watchOf("shop", "12")
	require.NoError(t, w.state.Start(t.Context(), []state.Watch{shop}, nil))
	w.Seen = w.state.Seen(shop, deployments)
	w.sees("a", "15")
	require.Equal(t, []string{`"shop" 15 shop/a:→15`}, textOf(w.state.Marks(3)))
}

func TestWhatIsOwedGoesTogetherWithWhatWaits(t *testing.T) {
	w := openWorld(t, deployments, state.Config{Events: 1000, Bytes: 1 << 30})
	owed := state.Owed{Watch: watchOf("", "10"), WaitingObject: state.WaitingObject{Key: "shop/a", From: "7", To: "8"}}
	w.state.Follow(&state.Marks{}, []state.Owed{owed})
	require.NoError(t, w.state.Start(t.Context(), []state.Watch{watchOf("", "20")}, nil))
	w.Seen = w.state.Seen(watchOf("", "20"), deployments)
	w.state.Deliver(w.take)
	w.sees("a", "21")
	require.Equal(t, []string{"a 7→21"}, w.waits())
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
		watch := watchOf("", "20")
		require.NoError(t, w.state.Disown(t.Context()))
		require.NoError(t, w.state.Replace(t.Context(), watch, []*object.Object{w.deployment("one", "18")}, false))
		require.NoError(t, w.state.Replace(t.Context(), watch, []*object.Object{w.deployment("two", "19")}, true))
		require.NoError(t, w.state.Discard(t.Context(), func(q *state.Queued) bool { return q.To() != "12" }))
		w.state.Adopt([]state.Watch{watch}, state.Since{{Name: "deployments"}: 1})
		left := w.state.Queue()
		if dir == "" {
			require.Empty(t, left)
		} else {
			require.Len(t, left, 1, "one of two is wanted")
			id, _ := left[0].Name()
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
		w.queued[0].Keep(2, "steps", []byte("between two steps"))
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
