package object_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// said is what all manifests say, and does not compress by itself.
var said = func() string {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 3000)
	for i := range b {
		b[i] = 'a' + byte(r.IntN(26))
	}
	return "what all of them say " + string(b)
}()

func manifestOf(i int) string {
	return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web-%d"},"spec":{"n":%d,"text":%q}}`, i, i*i, said)
}

type book struct {
	resource string
	number   uint32
	text     []byte
}

func TestWhatManifestsShareIsPackedOnce(t *testing.T) {
	zip, err := object.NewCompressor()
	require.NoError(t, err)
	var kept []book
	zip.Keep(func(resource string, number uint32, text []byte) { kept = append(kept, book{resource, number, text}) })
	p := object.NewPacker(deployments, object.NewRedactor(fixedKey, nil), zip.Vocabulary("deployments.apps"))
	var all []*object.Object
	for i := range 2000 {
		o, err := p.Pack([]byte(manifestOf(i)), nil)
		require.NoError(t, err)
		all = append(all, o)
	}
	require.Len(t, kept, 1, "learned once")
	require.Less(t, all[1999].Size(), all[0].Size()/4)

	// What it was packed with is enough to unpack it elsewhere, and another
	// resource's is no trouble.
	other, err := object.NewCompressor()
	require.NoError(t, err)
	_, _, err = all[1999].Unpack(other)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "what all of them say")
	require.NoError(t, other.Teach("deployments.apps", kept[0].number, kept[0].text))
	require.NoError(t, other.Teach("configmaps", kept[0].number+1, []byte("something else altogether")))
	for i, o := range all {
		for _, zip := range []*object.Compressor{zip, other} {
			manifest, _, err := o.Unpack(zip)
			require.NoError(t, err)
			require.Equal(t, manifestOf(i), string(manifest))
		}
	}
	// It is used from the first object on, and no other is learned.
	other.Keep(func(string, uint32, []byte) { t.Error("learned again") })
	p = object.NewPacker(deployments, object.NewRedactor(fixedKey, nil), other.Vocabulary("deployments.apps"))
	for i := range 1000 {
		o, err := p.Pack([]byte(manifestOf(i)), nil)
		require.NoError(t, err)
		require.InDelta(t, all[1999].Size(), o.Size(), 20)
	}
}

func TestChangesOfFewObjectsTeachNothing(t *testing.T) {
	zip, err := object.NewCompressor()
	require.NoError(t, err)
	zip.Keep(func(string, uint32, []byte) { t.Error("learned") })
	p := object.NewPacker(deployments, object.NewRedactor(fixedKey, nil), zip.Vocabulary("deployments.apps"))
	last, err := p.Pack([]byte(manifestOf(0)), nil)
	require.NoError(t, err)
	for i := range 3000 {
		_, err := p.Pack([]byte(manifestOf(i)), func(string) *object.Object { return last })
		require.NoError(t, err)
	}
}

func TestAVocabularyIsLearnedWhileOthersPackAndUnpack(t *testing.T) {
	zip, err := object.NewCompressor()
	require.NoError(t, err)
	var running sync.WaitGroup
	for w := range 4 {
		p := object.NewPacker(deployments, object.NewRedactor(fixedKey, nil), zip.Vocabulary([]string{"a", "b"}[w%2]))
		running.Go(func() {
			for i := range 1200 {
				o, err := p.Pack([]byte(manifestOf(i)), nil)
				if err != nil {
					t.Error(err)
					return
				}
				if manifest, _, err := p.Unpack(o); err != nil || string(manifest) != manifestOf(i) {
					t.Error(i, err)
					return
				}
			}
		})
	}
	running.Wait()
}
