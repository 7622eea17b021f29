package state

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// Seen is what one source (a resource, perhaps in one namespace) saw last. One
// goroutine writes; the decoder may ask for headers meanwhile.
type Seen struct {
	state *State
	scope *Scope

	resource string
	place    client.Place

	mu      sync.Mutex
	current Watch // as it is recorded; mu protects it
}

// Seen gives what a source has seen, which follows w in the form of scope.
func (s *State) Seen(w Watch, scope Scope) *Seen {
	s.mu.Lock()
	shared := s.scopes.share(&scope)
	s.mu.Unlock()
	return &Seen{state: s, scope: shared, current: w, resource: scope.Resource.GroupResource().String(), place: w.Place()}
}

// Watch is how far the source is.
func (s *Seen) Watch() Watch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// At records that all up to a version is in the transaction, or was before.
func (s *Seen) At(t *Tx, version string) {
	w := s.Watch()
	w.Version = version
	s.setWatch(t, w)
}

// Comparing records that a list is being compared, so that there is no version to
// go on from until Listed.
func (s *Seen) Comparing(t *Tx) {
	w := s.Watch()
	w.Before, w.Version = cmp.Or(w.Version, w.Before), ""
	s.setWatch(t, w)
}

// Listed records that a list of that version was compared whole.
func (s *Seen) Listed(t *Tx, version string) { s.setWatch(t, s.Watch().listed(version)) }

// Drop forgets the watch, whose resource does not exist any more.
func (s *Seen) Drop(t *Tx) {
	w := s.Watch()
	t.Unwatch(w.Place())
}

func (s *Seen) setWatch(t *Tx, w Watch) {
	t.Watch(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = w
}

// Get gives the object seen last under a key, or nil; without withManifest,
// perhaps without its manifest.
func (s *Seen) Get(key string, withManifest bool) (*object.Object, error) {
	return s.state.store.object(s.resource, key, withManifest)
}

// Put adds to a transaction that an object was seen, and what changed by it:
// nothing if the version is known, an Add, an Update, or for a name that was
// created anew a Delete and an Add.
func (s *Seen) Put(t *Tx, o *object.Object, via string) error {
	old, err := s.Get(o.Key(), via == event.ViaWatch) // most of a list is known
	if err != nil {
		return err
	}
	if old != nil && old.UID == o.UID && old.ResourceVersion == o.ResourceVersion {
		if old != o && o.Whole() {
			s.set(t, o) // the same object, perhaps in another version of its resource
		}
		return nil
	}
	if old != nil && !old.Whole() {
		if old, err = s.Get(o.Key(), true); err != nil {
			return err
		}
	}
	action := event.Add
	if old != nil && old.UID != o.UID {
		gone, err := s.change(event.Delete, old, nil, via)
		if err != nil {
			return err
		}
		s.queue(t, gone)
		old = nil
	}
	if old != nil {
		action = event.Update
	}
	c, err := s.change(action, old, o, via)
	if err != nil {
		return err
	}
	if c != nil {
		s.queue(t, c)
	}
	s.set(t, o)
	return nil
}

// Remove adds to a transaction that the object under a key is gone, and its
// Delete, if it was known.
func (s *Seen) Remove(t *Tx, key, via string) error {
	old, err := s.Get(key, true)
	if err != nil || old == nil {
		return err
	}
	c, err := s.change(event.Delete, old, nil, via)
	if err != nil {
		return err
	}
	s.queue(t, c)
	s.Forget(t, key)
	return nil
}

func (s *Seen) queue(t *Tx, c *Change) {
	c.amid = s.Watch().Version == ""
	t.changes, t.place = append(t.changes, c), s.place
}

// Forget adds to a transaction that the object under a key is no longer looked
// at, which is no change.
func (s *Seen) Forget(t *Tx, key string) { t.set(objectID{s.resource, key}, nil) }

// Baseline adds to a transaction that an object was seen, without any change.
func (s *Seen) Baseline(t *Tx, o *object.Object) {
	if o.Whole() {
		s.set(t, o)
	}
}

func (s *Seen) set(t *Tx, o *object.Object) {
	o.Settle() // nobody else knows it yet
	t.set(objectID{s.resource, o.Key()}, o)
}

// Absent lists the keys that are seen and not present, sorted: after a list,
// these objects are gone.
func (s *Seen) Absent(ctx context.Context, present func(key string) bool) ([]string, error) {
	var gone []string
	err := s.each(ctx, func(key string) {
		if !present(key) {
			gone = append(gone, key)
		}
	})
	slices.Sort(gone)
	return gone, err
}

// Len is the number of objects.
func (s *Seen) Len(ctx context.Context) (n int, err error) {
	err = s.each(ctx, func(string) { n++ })
	return n, err
}

// each calls for the key of every object in the watch's area.
func (s *Seen) each(ctx context.Context, of func(key string)) error {
	if err := s.state.Flush(ctx); err != nil {
		return err
	}
	area := []Watch{s.Watch()}
	return s.state.store.keys(s.resource, func(key string) {
		if holdsKey(area, key) {
			of(key)
		}
	})
}

// change describes a change while the fields of the new version are still
// there; nil if it is nothing but noise and noise is skipped.
func (s *Seen) change(action event.Action, old, now *object.Object, via string) (*Change, error) {
	c := &Change{scope: s.scope, action: action, old: old, now: now, via: via, time: time.Now().UTC()}
	if now == nil {
		return c, nil
	}
	var m manifests
	var managers object.Managers
	var err error
	if m.now, err = now.Manifest(s.state.codec); err != nil {
		return nil, err
	}
	if old != nil {
		if m.old, managers, err = old.Unpack(s.state.codec); err != nil {
			return nil, err
		}
		if s.scope.SkipNoise && onlyNoise(m.old, m.now) {
			return nil, nil
		}
	}
	c.warm = &m
	if c.changedBy, err = now.ChangedBy(m.old, m.now, managers); err != nil {
		return nil, fmt.Errorf("compare %s: %w", now.Key(), err)
	}
	return c, nil
}

// onlyNoise tells whether two versions are the same but for the noise list. A
// manifest that cannot be read is never taken for noise.
func onlyNoise(old, now []byte) bool {
	a, b, err := event.DecodeManifests(old, now)
	if err != nil {
		return false
	}
	event.Clean(a)
	event.Clean(b)
	return reflect.DeepEqual(a, b)
}
