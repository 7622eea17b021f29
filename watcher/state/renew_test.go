package state_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/object/credential"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// TestAStateOfOtherRulesIsWrittenAnew: what is a credential by the new rules is
// neither in the file nor in the changes that wait, and the rest is as it was.
func TestAStateOfOtherRulesIsWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	none, err := credential.New([]string{"all"}, nil, nil, "")
	require.NoError(t, err)
	const password, token = "Hunter2-in-the-clear", "T0ken-in-the-clear"
	spec := func(replicas, password string) string {
		return `,"spec":{"replicas":` + replicas + `,"env":[{"name":"PASSWORD","value":"` + password + `"},{"name":"OTHER","value":"` + token + `"}]}`
	}

	w := openWorld(t, deployments, state.Config{Dir: dir, Events: 1000, Bytes: 1 << 30, Rules: none})
	watch := state.Watch{Name: "deployments", Resource: deployments.Resource, Kind: deployments.Kind, Namespaced: true, Old: state.Always}
	require.NoError(t, w.state.Start(t.Context(), []state.Watch{watch}, nil))
	w.Seen = w.state.Seen(watch, deployments)
	w.state.Deliver(w.take)
	w.packer = object.NewPacker(deployments.Kind, object.NewRedactor(w.state.Key(), none), w.codec.Vocabulary("deployments.apps"))
	w.Baseline([]*object.Object{w.pack(manifest("web", "u1", 1, spec("1", password))), w.pack(manifest("api", "u2", 2, spec("1", password)))})
	require.Len(t, w.put(manifest("web", "u1", 3, spec("2", password))), 1)
	require.Len(t, w.waiting(), 1)
	key := w.state.Key()
	require.NoError(t, w.state.Close())
	require.True(t, contents(t, dir, none, password), "the other rules let it through")

	rules, err := credential.New(nil, []string{"other"}, nil, "")
	require.NoError(t, err)
	again := openWorld(t, deployments, state.Config{Dir: dir, Events: 1000, Bytes: 1 << 30, Rules: rules})
	require.Equal(t, key, again.state.Key())
	queue := again.state.Queue()
	require.Len(t, queue, 1)
	e, err := queue[0].Event()
	require.NoError(t, err)
	for _, raw := range [][]byte{e.OldObject, e.Object} {
		require.NotContains(t, string(raw), password)
		require.NotContains(t, string(raw), token)
		require.Contains(t, string(raw), `"value":"redacted:`)
	}
	kept, _ := again.state.Kept()
	again.Seen = again.state.Seen(watch.Adopt(kept), deployments)
	o := again.Get("shop/api")
	require.Equal(t, "2", o.ResourceVersion)
	text, _, err := o.Unpack(again.codec)
	require.NoError(t, err)
	require.NotContains(t, string(text), password)
	again.state.Deliver(again.take)
	require.NoError(t, again.state.Close())
	for _, gone := range []string{password, token} {
		require.False(t, contents(t, dir, rules, gone), "it is in the file no more")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.new-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// contents opens a state, unpacks what it holds and looks for a text there and
// in the bytes of the file.
func contents(t *testing.T, dir string, rules *credential.Rules, text string) (found bool) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, state.FileName))
	require.NoError(t, err)
	w := openWorld(t, deployments, state.Config{Dir: dir, Events: 1000, Bytes: 1 << 30, Rules: rules})
	defer func() { require.NoError(t, w.state.Close()) }()
	w.Seen = w.state.Seen(state.Watch{Name: "deployments", Resource: deployments.Resource, Kind: deployments.Kind, Namespaced: true, Old: state.Always}, deployments)
	for _, key := range []string{"shop/web", "shop/api"} {
		manifest, _, err := w.Get(key).Unpack(w.codec)
		require.NoError(t, err)
		found = found || bytes.Contains(manifest, []byte(text))
	}
	return found || bytes.Contains(raw, []byte(text))
}
