package state_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// see applies a manifest with the watch's position, as a source does.
func (w *world) see(name string, version int, more string) {
	w.t.Helper()
	changes, err := w.apply(func(t *state.Tx) error {
		w.At(t, fmt.Sprint(version))
		return w.Seen.Put(t, w.pack(manifest(name, "u-"+name, version, more)), event.ViaWatch)
	})
	require.NoError(w.t, err)
	require.Len(w.t, changes, 1)
}

func TestWhatIsWrittenOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, deployments, dir)
	require.True(t, w.state.Durable())
	key := w.state.Key()
	w.see("web", 7, `,"spec":{"x":1}`)
	w.see("web", 8, `,"spec":{"x":2}`)
	w.see("api", 9, "")
	sent := w.waiting()
	w.queued[0].Done()
	require.NoError(t, w.state.Close())

	next := newWorld(t, deployments, dir)
	require.Equal(t, key, next.state.Key(), "hashes of Secrets stay comparable")
	require.Equal(t, "9", next.Watch().Version)
	require.Equal(t, "8", next.Get("shop/web").ResourceVersion)
	require.Equal(t, 2, next.Len())
	require.Equal(t, sent[1:], next.waiting(), "the same events, in order")
	require.Equal(t, 2, next.state.Waiting())
	next.see("web", 10, `,"spec":{"x":3}`)
	last := next.waiting()[2]
	require.Equal(t, "u-web.10.update", last.ID)
	require.Contains(t, string(last.OldObject), `"x":2`, "the old object is the one of the run before")
	for _, q := range next.queued {
		q.Done()
	}
	require.NoError(t, next.state.Close())
	require.Empty(t, newWorld(t, deployments, dir).waiting())
}

func TestWhatNoWatchHoldsIsForgotten(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, deployments, dir)
	w.see("web", 1, "")
	w.Baseline([]*object.Object{w.pack(strings.Replace(manifest("x", "u9", 2, ""), `"shop"`, `"tools"`, 1))})
	require.NoError(t, w.state.Close())

	next := openWorld(t, deployments, state.Config{Dir: dir, Events: 10, Bytes: 1 << 20})
	shop := wanted("shop")
	kept, _ := next.state.Kept()
	shop = shop.Adopt(kept)
	require.NoError(t, next.state.Start(t.Context(), []state.Watch{shop}, state.Since{{Name: "deploy", Namespace: "shop"}: 42}))
	next.state.Deliver(next.take)
	next.Seen = next.state.Seen(wanted(""), deployments) // looks everywhere
	require.NotNil(t, next.Get("shop/web"))
	require.Nil(t, next.Get("tools/x"))
	require.Len(t, next.waiting(), 1, "a change that was seen is delivered all the same")
	require.NoError(t, next.state.Close())

	last := openWorld(t, deployments, state.Config{Dir: dir, Events: 10, Bytes: 1 << 20})
	kept, since := last.state.Kept()
	require.Len(t, kept, 1)
	require.Equal(t, shop, kept[0])
	require.Equal(t, state.Since{{Name: "deploy", Namespace: "shop"}: 42}, since)
	require.NoError(t, last.state.Start(t.Context(), nil, nil))
	last.state.Deliver(last.take)
	last.Seen = last.state.Seen(wanted(""), deployments)
	require.Zero(t, last.Len())
}

func TestAStateIsOfOneCluster(t *testing.T) {
	type claim = state.Cluster
	for name, tc := range map[string]struct {
		was, is claim
		refused string
	}{
		"the same":              {claim{"prod", "u1"}, claim{"prod", "u1"}, ""},
		"by another name":       {claim{"prod", "u1"}, claim{"production", "u1"}, ""},
		"no longer readable":    {claim{"prod", "u1"}, claim{"prod", ""}, ""},
		"another of that name":  {claim{"prod", "u1"}, claim{"prod", "u2"}, "belongs to another cluster: its namespace kube-system has the UID u1, not u2: give each"},
		"another name, no UIDs": {claim{"prod", ""}, claim{"test", "u2"}, "belongs to the cluster prod, not test: give each cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, state.FileName)
			for i, c := range []claim{tc.was, tc.is} {
				before, _ := os.ReadFile(path)
				w := openWorld(t, deployments, state.Config{Dir: dir, Events: 10, Bytes: 1 << 20})
				err := w.state.Claim(c)
				if i > 0 {
					after, readErr := os.ReadFile(path)
					require.NoError(t, readErr)
					require.Equal(t, before, after, "opened and refused, it is left as it is")
				}
				require.NoError(t, w.state.Start(t.Context(), nil, nil))
				require.NoError(t, w.state.Close())
				if i == 0 || tc.refused == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, tc.refused)
				}
			}
		})
	}
}

// openFails opens a state that cannot be used, and checks that it is left as it
// is.
func openFails(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, state.FileName)
	before, _ := os.ReadFile(path)
	codec, err := object.NewCompressor()
	require.NoError(t, err)
	_, err = state.Open(state.Config{Dir: dir, Events: 10, Bytes: 1 << 20, Compressor: codec})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "\n", "one line")
	after, _ := os.ReadFile(path)
	require.Equal(t, before, after, "it is left as it is")
	return err.Error()
}

// filled gives the bytes of a state with objects and changes.
func filled(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	w := newWorld(t, deployments, dir)
	for i := range 300 {
		w.see(fmt.Sprint("web-", i), i+1, fmt.Sprintf(`,"spec":{"x":%q}`, strings.Repeat(fmt.Sprint(i), 50)))
	}
	require.NoError(t, w.state.Close())
	b, err := os.ReadFile(filepath.Join(dir, state.FileName))
	require.NoError(t, err)
	return b
}

func stateOf(t *testing.T, content []byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, state.FileName), content, 0o600))
	return dir
}

func TestADamagedFileIsAClearErrorAndLeftAsItIs(t *testing.T) {
	whole := filled(t)
	for name, content := range map[string][]byte{
		"empty": {}, "text": []byte("hello"), "zeros": make([]byte, len(whole)),
		"cut in two":          whole[:len(whole)/2],
		"cut to one page":     whole[:4096],
		"cut to four pages":   whole[:4*4096],
		"cut within a page":   whole[:len(whole)/3+17],
		"without its head":    append(make([]byte, 2*4096), whole[2*4096:]...),
		"noise after a while": append(append([]byte{}, whole[:5*4096]...), bytes.Repeat([]byte("noise "), (len(whole)-5*4096)/6)...),
		"zeros after a while": append(append([]byte{}, whole[:5*4096]...), make([]byte, len(whole)-5*4096)...),
	} {
		t.Run(name, func(t *testing.T) {
			text := openFails(t, stateOf(t, content))
			require.Contains(t, text, "is damaged (")
			require.Contains(t, text, "put back a copy of it, or move it away to start anew")
		})
	}
}

func TestAnyPageThatIsTornIsFoundOrDoesNotMatter(t *testing.T) {
	whole := filled(t)
	codec, err := object.NewCompressor()
	require.NoError(t, err)
	found := 0
	for page := range len(whole) / 4096 {
		content := bytes.Clone(whole)
		torn := content[page*4096+rand.N(4096) : (page+1)*4096]
		for i := range torn {
			torn[i] ^= byte(1 + rand.N(255))
		}
		dir := stateOf(t, content)
		s, err := state.Open(state.Config{Dir: dir, Events: 10, Bytes: 1 << 20, Compressor: codec})
		if err != nil {
			require.Contains(t, err.Error(), "is damaged (")
			found++
			continue
		}
		if page > 1 { // of the two heads, the one that is left may be of the transaction before
			require.Len(t, s.Queue(), 300, "page %d was free", page)
		}
		require.NoError(t, s.Close())
	}
	require.Greater(t, found, 10)
}

func TestAFileOfAnotherFormatOrProgramIsRefused(t *testing.T) {
	change := func(of func(*bolt.Tx) error) string {
		dir := stateOf(t, filled(t))
		db, err := bolt.Open(filepath.Join(dir, state.FileName), 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Update(of))
		require.NoError(t, db.Close())
		return openFails(t, dir)
	}
	text := change(func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte("3")) })
	require.Contains(t, text, `has format "3", this kwatchman knows format 2: use the version that wrote it, or another KW_STATE_DIR`)
	text = change(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("meta")) })
	require.Contains(t, text, "no state of kwatchman")
	text = change(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("queue")) })
	require.Contains(t, text, "bucket queue is missing")
}

func TestAStateThatIsInUseIsRefused(t *testing.T) {
	dir := t.TempDir()
	newWorld(t, deployments, dir)
	found, err := state.Inspect(dir)
	require.NoError(t, err)
	require.Equal(t, state.Found{Exists: true, Locked: true}, found)
	codec, err := object.NewCompressor()
	require.NoError(t, err)
	_, err = state.Open(state.Config{Dir: dir, Events: 10, Bytes: 1 << 20, Compressor: codec})
	require.EqualError(t, err, "state "+filepath.Join(dir, state.FileName)+
		" is in use by another process: stop it, or give each watcher a KW_STATE_DIR of its own")
}

func TestInspectTellsWhatIsThereAndChangesNothing(t *testing.T) {
	empty := t.TempDir()
	found, err := state.Inspect(empty)
	require.NoError(t, err)
	require.Equal(t, state.Found{}, found)
	entries, err := os.ReadDir(empty)
	require.NoError(t, err)
	require.Empty(t, entries)
	content := filled(t)
	dir := stateOf(t, content)
	found, err = state.Inspect(dir)
	require.NoError(t, err)
	require.Equal(t, state.Found{Exists: true, Waiting: 300}, found)
	after, err := os.ReadFile(filepath.Join(dir, state.FileName))
	require.NoError(t, err)
	require.Equal(t, content, after)
}

func TestAPlaceThatIsNoFolderIsAClearError(t *testing.T) {
	codec, err := object.NewCompressor()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = state.Open(state.Config{Dir: filepath.Join(file, "x"), Compressor: codec})
	require.ErrorContains(t, err, "KW_STATE_DIR: "+file)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, state.FileName), 0o700))
	_, err = state.Open(state.Config{Dir: dir, Compressor: codec})
	require.ErrorContains(t, err, "is no regular file")
}

func TestAnAcknowledgementIsWrittenSoonWithoutBeingAskedFor(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, deployments, dir)
	w.see("web", 1, "")
	w.waiting()
	w.queued[0].Done()
	path := filepath.Join(dir, state.FileName)
	require.Eventually(t, func() bool { // a copy, for the file is locked
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		found, err := state.Inspect(stateOf(t, content))
		return err == nil && found.Exists && found.Waiting == 0
	}, 20*time.Second, 20*time.Millisecond)
}
