package state_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/kwatchman/kwatchman/watcher/state"
)

// said is what all manifests say, and does not compress by itself.
var said = func() string {
	r := rand.New(rand.NewPCG(5, 6))
	b := make([]byte, 3000)
	for i := range b {
		b[i] = 'a' + byte(r.IntN(26))
	}
	return string(b)
}()

// alike is the rest of a manifest of which most is the same in all.
func alike(i int) string { return fmt.Sprintf(`,"spec":{"n":%d,"text":%q}`, i, said) }

// manyAlike leaves a state with objects packed before and after what they share
// was learned, and with changes that wait.
func manyAlike(t *testing.T, dir string) {
	t.Helper()
	w := newWorld(t, deployments, dir)
	for i := range 1200 {
		w.see(fmt.Sprint("web-", i), i+1, alike(i))
	}
	require.NoError(t, w.state.Flush(t.Context())) // all are queued
	w.mu.Lock()
	for _, q := range w.queued[:1100] {
		q.Done()
	}
	w.mu.Unlock()
	require.NoError(t, w.state.Close())
}

func TestWhatObjectsArePackedWithOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	manyAlike(t, dir)
	w := newWorld(t, deployments, dir)
	for i := range 1200 {
		manifest, _, err := w.Get(fmt.Sprint("shop/web-", i)).Unpack(w.codec)
		require.NoError(t, err)
		require.Contains(t, string(manifest), alike(i)[1:])
	}
	left := w.waiting()
	require.Len(t, left, 100)
	require.Contains(t, string(left[99].Object), alike(1199)[1:])
	small := w.Get("shop/web-1199").Size()
	w.see("new", 2000, alike(1))
	require.InDelta(t, small, w.Get("shop/new").Size(), 40, "it is used from the first object on")
	require.Greater(t, w.Get("shop/web-1").Size(), 4*small)
}

func TestAFileFromBeforeDictionariesIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, deployments, dir)
	w.see("old", 1, alike(1))
	require.NoError(t, w.state.Close())
	path := filepath.Join(dir, state.FileName)
	format := func(set string) (was string) {
		db, err := bolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			meta := tx.Bucket([]byte("meta"))
			was = string(meta.Get([]byte("format")))
			if set == "" {
				return nil
			}
			require.Nil(t, tx.Bucket([]byte("words")))
			return meta.Put([]byte("format"), []byte(set))
		}))
		require.NoError(t, db.Close())
		return was
	}
	format("1")
	manyAlike(t, dir)
	require.Equal(t, "2", format(""), "from the first dictionary on an older program must not read it")
	w = newWorld(t, deployments, dir)
	require.NotNil(t, w.Get("shop/old"))
	require.Equal(t, []string{"shop/old"}, w.Absent(nil)[:1])
}

func TestADamagedDictionaryIsADamagedState(t *testing.T) {
	dir := t.TempDir()
	manyAlike(t, dir)
	path := filepath.Join(dir, state.FileName)
	db, err := bolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		words := tx.Bucket([]byte("words"))
		raw := append([]byte{}, words.Get([]byte("deployments.apps"))...)
		raw[len(raw)-1]++
		return words.Put([]byte("deployments.apps"), raw)
	}))
	require.NoError(t, db.Close())
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, openFails(t, dir), "is damaged (a checksum does not fit)")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
}
