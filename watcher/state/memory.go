package state

import (
	"context"
	"sync"
	"time"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// memory is a store that ends with the process. There is nothing to wait for,
// and nothing that fails.
type memory struct {
	mu      sync.RWMutex // protects all below; State.mu may be held
	objects map[string]map[string]*object.Object
	changes map[uint64]*Change
	inputs  map[uint64][]byte
	bytes   int64 // of objects
}

func newMemory() *memory {
	return &memory{
		objects: map[string]map[string]*object.Object{}, changes: map[uint64]*Change{}, inputs: map[uint64][]byte{},
	}
}

func (m *memory) object(resource, key string, _ bool) (*object.Object, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.objects[resource][key], nil
}

func (m *memory) keys(resource string, each func(string)) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for key := range m.objects[resource] {
		each(key)
	}
	return nil
}

func (m *memory) change(seq uint64) (*Change, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.changes[seq], nil
}

func (m *memory) input(seq uint64) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.inputs[seq], nil
}

func (m *memory) size() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.bytes
}

func (m *memory) record(t Tx, changes []*Queued) (written bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range t.objects {
		m.set(o.objectID, o.object)
	}
	for _, q := range changes {
		m.changes[q.seq] = q.change
	}
	return true
}

// set puts an object, or forgets it; the caller holds mu.
func (m *memory) set(id objectID, o *object.Object) {
	of := m.objects[id.resource]
	if of == nil {
		of = map[string]*object.Object{}
		m.objects[id.resource] = of
	}
	if was := of[id.key]; was != nil {
		m.bytes -= int64(was.Size())
	}
	if o == nil {
		delete(of, id.key)
		return
	}
	m.bytes += int64(o.Size())
	of[id.key] = o
}

func (m *memory) keep(seq uint64, in *keptInput) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if in == nil {
		delete(m.inputs, seq)
		return
	}
	m.inputs[seq] = in.input
}

func (m *memory) remove(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.changes, seq)
	delete(m.inputs, seq)
}

func (m *memory) start(_ meta, watches []Watch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	areas := areasOf(watches)
	for resource := range m.objects {
		m.forget(resource, func(key string) bool { return !holdsKey(areas[resource], key) })
	}
	return nil
}

func (m *memory) replace(w *Watch, objects []*object.Object, more bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	resource := w.Place().String()
	if !more {
		m.forget(resource, func(key string) bool { return holdsKey([]Watch{*w}, key) })
	}
	for _, o := range objects {
		m.set(objectID{resource, o.Key()}, o)
	}
	return nil
}

// forget drops objects of a resource; the caller holds mu.
func (m *memory) forget(resource string, gone func(key string) bool) {
	of := m.objects[resource]
	for key, o := range of {
		if gone(key) {
			m.bytes -= int64(o.Size())
			delete(of, key)
		}
	}
}

func (*memory) disown() error                   { return nil }
func (*memory) hasRoom() bool                   { return true }
func (*memory) flush(ctx context.Context) error { return ctx.Err() }
func (*memory) writingSince() time.Time         { return time.Time{} }
func (*memory) close() error                    { return nil }
