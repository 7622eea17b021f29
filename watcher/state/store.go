package state

import (
	"slices"
	"strings"
	"sync"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// store is where a State keeps its data: in memory or in a file.
type store interface {
	// object gives the object seen last under a key of a resource, or nil; if
	// not whole, perhaps without its manifest.
	object(resource, key string, whole bool) (*object.Object, error)
	// keys calls for each object of a resource until each returns false.
	keys(resource string, each func(key string) bool) error
	change(seq uint64) (*Change, error)
	// input is what keep has for a change, or nil.
	input(seq uint64) ([]byte, error)
	// commit writes a batch as a whole or not at all.
	commit(*batch) error
	// size is that of what is kept, in bytes.
	size() int64
	close() error
}

// kept is what a store holds at the start.
type kept struct {
	key     []byte // of the hash for Secrets
	cluster Cluster
	watches []Watch
	words   []vocabulary
	since   Since
	epoch   int64     // of the leader that wrote the state; noEpoch: nobody knows
	queue   []*Queued // oldest first
	seq     uint64    // the last one used
}

// vocabulary is what the compressor needs to unpack the objects of a resource.
type vocabulary struct {
	resource string
	number   uint32
	text     []byte // compressed
}

// objectID names an object.
type objectID struct{ resource, key string }

// batch is what is written in one transaction.
type batch struct {
	id      uint64
	objects map[objectID]*object.Object // nil: forgotten
	changes []*Queued
	bytes   int                     // of objects and changes
	done    []uint64                // changes that are acknowledged
	inputs  map[uint64][]byte       // what waits between two steps; nil: no longer
	words   []vocabulary            // what the objects need that come with it or later
	watches map[client.Place]*Watch // nil: no longer followed
	started *kept                   // what the start writes anew: cluster, since, epoch
	goesOn  bool                    // what waits between two steps stays at a start
	instead *Watch                  // what was seen in its area is forgotten first
	doubted bool                    // nobody knows whose the state is
	urgent  bool                    // somebody waits for it
	trim    bool                    // what reading has brought into memory is to go
}

func newBatch(id uint64) *batch {
	return &batch{id: id}
}

// reset makes it the next one, with the room of a small one.
func (b *batch) reset() {
	const small = 16
	if len(b.objects) > small {
		b.objects = nil
	}
	clear(b.objects)
	clear(b.inputs)
	clear(b.watches)
	*b = batch{id: b.id + 1, objects: b.objects, inputs: b.inputs, watches: b.watches, done: b.done[:0]}
}

func (b *batch) setObject(id objectID, o *object.Object) {
	if b.objects == nil {
		b.objects = map[objectID]*object.Object{}
	}
	b.objects[id] = o
}

func (b *batch) setWatch(p client.Place, w *Watch) {
	if b.watches == nil {
		b.watches = map[client.Place]*Watch{}
	}
	b.watches[p] = w
}

func (b *batch) setInput(seq uint64, input []byte) {
	if b.inputs == nil {
		b.inputs = map[uint64][]byte{}
	}
	b.inputs[seq] = input
}

func (b *batch) empty() bool { return b.writesNothing() && !b.trim }

func (b *batch) writesNothing() bool {
	return len(b.objects) == 0 && len(b.changes) == 0 && len(b.done) == 0 && len(b.inputs) == 0 &&
		len(b.watches) == 0 && len(b.words) == 0 && b.started == nil && b.instead == nil && !b.doubted
}

// forgets tells whether a batch drops what is kept of a key of a resource.
func (b *batch) forgets(areas map[string][]Watch, resource, key string) bool {
	namespace, _, _ := strings.Cut(key, "/")
	if w := b.instead; w != nil && w.Place().String() == resource && w.holds(namespace) {
		return true
	}
	return b.started != nil && !slices.ContainsFunc(areas[resource], func(w Watch) bool { return w.holds(namespace) })
}

// areas are the watches of each resource.
func (k *kept) areas() map[string][]Watch {
	out := map[string][]Watch{}
	if k == nil {
		return out
	}
	for _, w := range k.watches {
		p := w.Place()
		out[p.String()] = append(out[p.String()], w)
	}
	return out
}

// memory is a store that ends with the process.
type memory struct {
	mu      sync.RWMutex
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

func (m *memory) keys(resource string, each func(string) bool) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for key := range m.objects[resource] {
		if !each(key) {
			break
		}
	}
	return nil
}

func (m *memory) change(seq uint64) (*Change, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.changes[seq], nil
}

func (m *memory) size() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.bytes
}

func (m *memory) input(seq uint64) ([]byte, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.inputs[seq], nil
}

func (m *memory) commit(b *batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.started != nil || b.instead != nil {
		m.forget(b)
	}
	for id, o := range b.objects {
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
		} else {
			m.bytes += int64(o.Size())
			of[id.key] = o
		}
	}
	for _, q := range b.changes {
		m.changes[q.seq] = q.change
	}
	for seq, input := range b.inputs {
		if input == nil {
			delete(m.inputs, seq)
		} else {
			m.inputs[seq] = input
		}
	}
	for _, seq := range b.done {
		delete(m.changes, seq)
		delete(m.inputs, seq)
	}
	return nil
}

// forget drops the objects that nobody looks at any more; the caller holds mu.
func (m *memory) forget(b *batch) {
	areas := b.started.areas()
	for resource, of := range m.objects {
		if b.started == nil && resource != b.instead.Place().String() {
			continue
		}
		for key, o := range of {
			if b.forgets(areas, resource, key) {
				m.bytes -= int64(o.Size())
				delete(of, key)
			}
		}
	}
}

func (m *memory) close() error { return nil }
