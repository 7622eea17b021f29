package state_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

var (
	deployments = state.Scope{
		Cluster:  "prod eu",
		Resource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"},
		Kind:     schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"},
	}
	nodes = state.Scope{
		Cluster:  "prod eu",
		Resource: schema.GroupVersionResource{Version: "v1", Resource: "nodes"},
		Kind:     schema.GroupVersionKind{Version: "v1", Kind: "Node"},
	}
)

// world is what a source sees, on a state.
type world struct {
	*state.Seen
	t      testing.TB
	state  *state.State
	codec  *object.Compressor
	scope  state.Scope
	packer *object.Packer
	mu     sync.Mutex
	queued []*state.Queued // what was delivered
}

// inBoth runs a test with a state in memory and with one in a file.
func inBoth(t *testing.T, scope state.Scope, test func(*testing.T, *world)) {
	t.Helper()
	t.Run("in memory", func(t *testing.T) { test(t, newWorld(t, scope, "")) })
	t.Run("in a file", func(t *testing.T) { test(t, newWorld(t, scope, t.TempDir())) })
}

// newWorld opens a state and goes on with what was seen there.
func newWorld(t testing.TB, scope state.Scope, dir string) *world {
	t.Helper()
	w := openWorld(t, scope, state.Config{Dir: dir, Events: 100_000, Bytes: 1 << 30})
	kept, _ := w.state.Kept()
	watch := state.Watch{
		Name: scope.Resource.Resource, Resource: scope.Resource, Kind: scope.Kind, Namespaced: true, Old: state.Always,
	}.Adopt(kept)
	require.NoError(t, w.state.Start(t.Context(), []state.Watch{watch}, nil))
	w.Seen = w.state.Seen(watch, scope)
	w.state.Deliver(w.take)
	return w
}

// openWorld opens a state that has not begun.
func openWorld(t testing.TB, scope state.Scope, cfg state.Config) *world {
	t.Helper()
	codec, err := object.NewCompressor()
	require.NoError(t, err)
	w := &world{t: t, codec: codec, scope: scope}
	cfg.Compressor = codec
	w.state, err = state.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.state.Close() })
	w.packer = object.NewPacker(scope.Kind, object.NewRedactor(w.state.Key(), nil), codec.Vocabulary(scope.Resource.GroupResource().String()))
	return w
}

// take is what a state delivers to.
func (w *world) take(q *state.Queued) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queued = append(w.queued, q)
}

// Rescope goes on with the same resource in another version.
func (w *world) Rescope(scope state.Scope) {
	watch := w.Watch()
	watch.Resource, watch.Kind, watch.Version = scope.Resource, scope.Kind, ""
	w.Seen = w.state.Seen(watch, scope)
}

// Put applies that an object was seen and gives what changed.
func (w *world) Put(o *object.Object, via string) ([]*state.Change, error) {
	return w.apply(func(t *state.Tx) error { return w.Seen.Put(t, o, via) })
}

func (w *world) Remove(key, via string) ([]*state.Change, error) {
	return w.apply(func(t *state.Tx) error { return w.Seen.Remove(t, key, via) })
}

func (w *world) apply(see func(*state.Tx) error) ([]*state.Change, error) {
	var t state.Tx
	if err := see(&t); err != nil {
		return nil, err
	}
	if err := w.state.Apply(context.Background(), &t); err != nil {
		return nil, err
	}
	return t.Changes(), nil
}

// Baseline takes objects as seen without any change.
func (w *world) Baseline(objects []*object.Object) {
	w.t.Helper()
	changes, err := w.apply(func(t *state.Tx) error {
		for _, o := range objects {
			w.Seen.Baseline(t, o)
		}
		return nil
	})
	require.NoError(w.t, err)
	require.Empty(w.t, changes)
}

// Get gives what was seen last, or nil.
func (w *world) Get(key string) *object.Object {
	w.t.Helper()
	o, err := w.Seen.Get(key, true)
	require.NoError(w.t, err)
	return o
}

func (w *world) Len() int {
	w.t.Helper()
	n, err := w.Seen.Len(context.Background())
	require.NoError(w.t, err)
	return n
}

func (w *world) Absent(present []*object.Object) []string {
	w.t.Helper()
	gone, err := w.Seen.Absent(context.Background(), func(key string) bool {
		return slices.ContainsFunc(present, func(o *object.Object) bool { return o.Key() == key })
	})
	require.NoError(w.t, err)
	return gone
}

// waiting gives the events of all that is queued, in order.
func (w *world) waiting() []*event.Event {
	w.t.Helper()
	require.NoError(w.t, w.state.Flush(context.Background()))
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*event.Event
	for _, q := range w.queued {
		e, err := q.Event()
		require.NoError(w.t, err)
		out = append(out, e)
	}
	return out
}

func manifest(name, uid string, version int, more string) string {
	return fmt.Sprintf(`{"metadata":{"namespace":"shop","name":%q,"uid":%q,"resourceVersion":"%d",`+
		`"managedFields":[{"manager":"kubectl","operation":"Update","fieldsV1":{"f:spec":{}}}]}%s}`, name, uid, version, more)
}

func (w *world) pack(raw string) *object.Object {
	w.t.Helper()
	o, err := w.packer.Pack([]byte(raw), nil)
	require.NoError(w.t, err)
	return o
}

// put puts a manifest and gives the events of what it changed.
func (w *world) put(raw string) []*event.Event {
	w.t.Helper()
	return events(w)(w.Put(w.pack(raw), event.ViaWatch))
}

// events builds each change's event and checks that the change knows its id
// and subject without it.
func events(w *world) func([]*state.Change, error) []*event.Event {
	t := w.t
	return func(changes []*state.Change, err error) []*event.Event {
		t.Helper()
		require.NoError(t, err)
		var out []*event.Event
		for _, c := range changes {
			e, err := c.Event(w.codec)
			require.NoError(t, err)
			require.NoError(t, e.Validate())
			require.Equal(t, e.ID, c.ID())
			require.Equal(t, e.Subject, c.Subject())
			require.Positive(t, c.Size())
			out = append(out, e)
		}
		return out
	}
}

func resourceVersion(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var m struct {
		Metadata struct{ UID, ResourceVersion string }
	}
	require.NoError(t, json.Unmarshal(raw, &m))
	return m.Metadata.UID + "." + m.Metadata.ResourceVersion
}
