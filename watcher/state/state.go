// Package state holds the objects that the watcher saw last and turns each new
// observation into the changes that it means.
package state

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
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
	SkipNoise bool
}

// Seen holds what one source (a resource, perhaps in one namespace) saw last.
// Its methods may be called by several goroutines.
type Seen struct {
	mu      sync.RWMutex
	scope   *Scope // never changed, only replaced
	packer  *object.Packer
	objects map[string]*object.Object
}

// NewSeen starts with nothing seen.
func NewSeen(scope Scope, packer *object.Packer) *Seen {
	return &Seen{scope: &scope, packer: packer, objects: map[string]*object.Object{}}
}

// Rescope goes on with the objects of the same resource in another version.
// They are kept as they are until a list brings them in the new form. Changes
// that wait keep theirs.
func (s *Seen) Rescope(scope Scope, packer *object.Packer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scope, s.packer = &scope, packer
}

// Get gives the object seen last under a key, or nil.
func (s *Seen) Get(key string) *object.Object {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.objects[key]
}

// Len is the number of objects.
func (s *Seen) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.objects)
}

// Put records an object and returns what changed: nothing if the version is
// known, an Add, an Update, or for a name that was created anew a Delete and
// an Add.
func (s *Seen) Put(o *object.Object, via string) ([]*Change, error) {
	old := s.Get(o.Key())
	var changes []*Change
	action := event.Update
	switch {
	case old == nil:
		action = event.Add
	case old.UID != o.UID:
		gone, err := s.change(event.Delete, old, nil, via)
		if err != nil {
			return nil, err
		}
		changes, action, old = append(changes, gone), event.Add, nil
	case old.ResourceVersion == o.ResourceVersion:
		if old != o {
			s.set(o) // the same object, perhaps in another version of its resource
		}
		return nil, nil
	}
	c, err := s.change(action, old, o, via)
	if err != nil {
		return nil, err
	}
	if c != nil {
		changes = append(changes, c)
	}
	s.set(o)
	return changes, nil
}

// Remove forgets the object under a key and returns its Delete, or nothing if
// it was not known.
func (s *Seen) Remove(key, via string) ([]*Change, error) {
	old := s.Get(key)
	if old == nil {
		return nil, nil
	}
	c, err := s.change(event.Delete, old, nil, via)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	return []*Change{c}, nil
}

// Absent lists the keys that are seen but not in present, sorted: after a
// list, these objects are gone.
func (s *Seen) Absent(present []*object.Object) []string {
	there := make(map[string]bool, len(present))
	for _, o := range present {
		there[o.Key()] = true
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var gone []string
	for key := range s.objects {
		if !there[key] {
			gone = append(gone, key)
		}
	}
	slices.Sort(gone)
	return gone
}

// Baseline takes objects as seen without any change.
func (s *Seen) Baseline(objects []*object.Object) {
	for _, o := range objects {
		s.set(o)
	}
}

func (s *Seen) set(o *object.Object) {
	o.Settle() // nobody else knows it yet
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[o.Key()] = o
}

// change describes a change while the fields of the new version are still
// there; nil if it is nothing but noise and noise is skipped.
func (s *Seen) change(action event.Action, old, now *object.Object, via string) (*Change, error) {
	s.mu.RLock()
	scope, packer := s.scope, s.packer
	s.mu.RUnlock()
	c := &Change{scope: scope, packer: packer, action: action, old: old, now: now, via: via, time: time.Now().UTC()}
	if now == nil {
		return c, nil
	}
	manifest, _, err := packer.Unpack(now)
	if err != nil {
		return nil, err
	}
	var oldManifest []byte
	var oldManagers []event.Manager
	if old != nil {
		if oldManifest, oldManagers, err = packer.Unpack(old); err != nil {
			return nil, err
		}
		if scope.SkipNoise && onlyNoise(oldManifest, manifest) {
			return nil, nil
		}
	}
	if c.changedBy, err = now.ChangedBy(oldManifest, manifest, oldManagers); err != nil {
		return nil, fmt.Errorf("compare %s: %w", now.Key(), err)
	}
	return c, nil
}

// onlyNoise tells whether two versions are the same but for the noise list. A
// manifest that cannot be read is never taken for noise.
func onlyNoise(old, now []byte) bool {
	a, errA := event.DecodeManifest(old)
	b, errB := event.DecodeManifest(now)
	if errA != nil || errB != nil {
		return false
	}
	event.Clean(a)
	event.Clean(b)
	return reflect.DeepEqual(a, b)
}

// Change is one change as it waits for delivery: both versions stay packed
// until the event is built.
type Change struct {
	scope     *Scope
	packer    *object.Packer
	action    event.Action
	old, now  *object.Object
	changedBy []event.Manager
	via       string
	time      time.Time
}

func (c *Change) either() *object.Object {
	if c.now != nil {
		return c.now
	}
	return c.old
}

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

// Size is the number of bytes that the change holds while it waits.
func (c *Change) Size() int {
	size := 0
	for _, o := range []*object.Object{c.old, c.now} {
		if o != nil {
			size += o.Size()
		}
	}
	return size
}

// Event builds the event from both versions.
func (c *Change) Event() (*event.Event, error) {
	scope, o, subject := c.scope, c.either(), c.Subject()
	apiVersion, kind := scope.Kind.ToAPIVersionAndKind()
	e := &event.Event{
		ID:     c.ID(),
		Source: event.NewSource(scope.Cluster), Subject: subject, Time: c.time,
		Cluster: scope.Cluster, APIVersion: apiVersion, Kind: kind,
		Namespace: o.Namespace, Name: o.Name, PartitionKey: subject, Via: c.via,
		Change: event.Change{Action: c.action, ChangedBy: c.changedBy},
	}
	var err error
	if c.now != nil {
		if e.Object, _, err = c.packer.Unpack(c.now); err != nil {
			return nil, err
		}
	}
	if c.old != nil {
		if e.OldObject, _, err = c.packer.Unpack(c.old); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Format names the change and nothing of its content, whatever the verb.
func (c *Change) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// String names the change.
func (c *Change) String() string { return strings.ToLower(string(c.action)) + " " + c.Subject() }
