package object_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// manifestOf is a manifest of which most is the same in all.
func manifestOf(i int) string {
	return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web-%d"},"spec":{"n":%d,"text":%q}}`,
		i, i*i, strings.Repeat("what all of them say, ", 10)+"and a word more")
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
	p := object.NewPacker(deployments, object.NewRedactor(fixedKey), zip.Vocabulary("deployments.apps"))
	var all []*object.Object
	for i := range 2000 {
		o, err := p.Pack([]byte(manifestOf(i)), nil)
		require.NoError(t, err)
		all = append(all, o)
	}
	require.Len(t, kept, 1, "learned once")
	require.Less(t, all[1999].Size(), all[0].Size()-50)

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
	p = object.NewPacker(deployments, object.NewRedactor(fixedKey), other.Vocabulary("deployments.apps"))
	for i := range 1000 {
		o, err := p.Pack([]byte(manifestOf(i)), nil)
		require.NoError(t, err)
		require.InDelta(t, all[1999].Size(), o.Size(), 20)
	}
}

func TestAVocabularyIsLearnedWhileOthersPackAndUnpack(t *testing.T) {
	zip, err := object.NewCompressor()
	require.NoError(t, err)
	var running sync.WaitGroup
	for w := range 4 {
		p := object.NewPacker(deployments, object.NewRedactor(fixedKey), zip.Vocabulary([]string{"a", "b"}[w%2]))
		running.Go(func() {
			for i := range 1000 {
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
