package state_test

import (
	"encoding/json"
	"fmt"
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

// world is a state with a packer to fill it.
type world struct {
	*state.Seen
	t      *testing.T
	packer *object.Packer
}

func newWorld(t *testing.T, scope state.Scope) *world {
	t.Helper()
	zip, err := object.NewCompressor(2)
	require.NoError(t, err)
	packer := object.NewPacker(scope.Kind, object.NewRedactor(object.RandomKey()), zip)
	return &world{t: t, Seen: state.NewSeen(scope, packer), packer: packer}
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
	return events(w.t)(w.Put(w.pack(raw), event.ViaWatch))
}

// events builds each change's event and checks that the change knows its id
// and subject without it.
func events(t *testing.T) func([]*state.Change, error) []*event.Event {
	return func(changes []*state.Change, err error) []*event.Event {
		t.Helper()
		require.NoError(t, err)
		var out []*event.Event
		for _, c := range changes {
			e, err := c.Event()
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
