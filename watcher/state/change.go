package state

import (
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// Scope is what the objects of one source have in common.
type Scope struct {
	Cluster  string
	Resource schema.GroupVersionResource
	Kind     schema.GroupVersionKind
	// SkipNoise drops an update that the noise list empties.
	SkipNoise bool `json:",omitzero"`
}

// Change is one change as it waits for delivery: both versions stay packed
// until the event is built.
type Change struct {
	scope     *Scope
	action    event.Action
	old, now  *object.Object
	changedBy []event.Manager
	via       string
	time      time.Time

	// amid tells that it was found while a list was compared, so that the watch's
	// version did not go on with it.
	amid bool

	warm *manifests // of a change that was just seen; the queue takes them over
}

// manifests are the two sides of a change, unpacked; either may be nil.
type manifests struct{ old, now []byte }

func (m *manifests) size() int { return len(m.old) + len(m.now) }

func (c *Change) either() *object.Object {
	if c.now != nil {
		return c.now
	}
	return c.old
}

// Action is what happened.
func (c *Change) Action() event.Action { return c.action }

// Via is how it was seen.
func (c *Change) Via() string { return c.via }

// Lane is the same for all changes of one object, in whatever version of its
// resource they were seen.
func (c *Change) Lane() string {
	o := c.either()
	return c.scope.Resource.GroupResource().String() + "/" + o.Key()
}

// Subject is the event's: the object's API path.
func (c *Change) Subject() string {
	r, o := c.scope.Resource, c.either()
	return event.NewSubject(r.Group, r.Version, r.Resource, o.Namespace, o.Name)
}

// ID is the event's.
func (c *Change) ID() string {
	o := c.either()
	return event.NewID(o.UID, o.ResourceVersion, c.action)
}

// Size is the number of bytes that the change takes while it waits, nearly.
func (c *Change) Size() int {
	size := 0
	for _, o := range []*object.Object{c.old, c.now} {
		if o != nil {
			size += o.Size()
		}
	}
	return size
}

// unpack gives both versions.
func (c *Change) unpack(codec *object.Compressor) (m manifests, err error) {
	if c.now != nil {
		if m.now, _, err = c.now.Unpack(codec); err != nil {
			return m, err
		}
	}
	if c.old != nil {
		m.old, _, err = c.old.Unpack(codec)
	}
	return m, err
}

// Event builds the event from both versions.
func (c *Change) Event(codec *object.Compressor) (*event.Event, error) {
	m, err := c.unpack(codec)
	if err != nil {
		return nil, err
	}
	return c.event(m), nil
}

// event: see Event.
func (c *Change) event(m manifests) *event.Event {
	scope, o, subject := c.scope, c.either(), c.Subject()
	apiVersion, kind := scope.Kind.ToAPIVersionAndKind()
	return &event.Event{
		ID:     c.ID(),
		Source: event.NewSource(scope.Cluster), Subject: subject, Time: c.time,
		Cluster: scope.Cluster, APIVersion: apiVersion, Kind: kind,
		Namespace: o.Namespace, Name: o.Name, PartitionKey: subject, Via: c.via,
		Change: event.Change{Action: c.action, ChangedBy: c.changedBy, Object: m.now, OldObject: m.old},
	}
}

// Format names the change and nothing of its content, whatever the verb.
func (c *Change) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// String names the change.
func (c *Change) String() string { return strings.ToLower(string(c.action)) + " " + c.Subject() }
