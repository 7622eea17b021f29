package state

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/client"
)

// Queued is a change in the queue, by its number: the change itself is read
// when it is its turn, so that a long queue on disk takes next to no memory. It
// is what the chain delivers. Its methods may be called by several goroutines.
type Queued struct {
	state *State
	seq   uint64
	size  int // of the change in bytes

	scope    *Scope // one for all that are equal
	lane     string
	key      string // object.Key
	from, to string // resourceVersions of the old and the new object; empty: there is none

	// Protected by State.mu.
	previous, next *Queued  // in State.queue
	written, done  bool     // in the store; no longer in the queue
	kept           *keptRef // nil: nothing is kept
	change         *Change  // until it is written, and as long as it is warm
	// warm are the manifests of a change that may be delivered at once, which
	// spares reading and unpacking them.
	warm *manifests

	// What the marks need, if somebody follows them.
	place client.Place // of the watch that saw it
	base  string       // the version of that watch before it; empty: it had none, or it is not known
	amid  bool         // it was found while a list was compared
	seen  int64        // when, in Unix seconds
}

// keptRef is what is in memory of an input that is kept.
type keptRef struct {
	step   int
	before string
	size   int // of the input in bytes
}

func (k *keptRef) bytes() int {
	if k == nil {
		return 0
	}
	return k.size
}

// maxWarm bounds in bytes the manifests that wait unpacked.
const maxWarm = 1 << 20

// newQueued is a change with its number; scope is the one that is shared.
func newQueued(s *State, seq uint64, c *Change, scope *Scope) *Queued {
	q := &Queued{state: s, seq: seq, size: c.Size(), scope: scope, amid: c.amid, seen: c.time.Unix()}
	key := c.either().Key()
	if c.old != nil {
		q.from = c.old.ResourceVersion
	}
	if c.now != nil {
		q.to = c.now.ResourceVersion
	}
	// One string, of which all are parts: those of the objects would hold more.
	all, resource := joined(scope.Resource.GroupResource(), key, q.from, q.to)
	end := resource + len("/") + len(key)
	q.lane, q.key = all[:end], all[resource+len("/"):end]
	q.from, q.to = all[end:end+len(q.from)], all[end+len(q.from):]
	return q
}

// joined is a lane with two versions behind it, and the length of its resource.
func joined(of schema.GroupResource, key, from, to string) (all string, resource int) {
	var b strings.Builder
	b.Grow(len(of.Resource) + len(of.Group) + len("./") + len(key) + len(from) + len(to))
	_, _ = b.WriteString(of.Resource)
	if of.Group != "" {
		_ = b.WriteByte('.')
		_, _ = b.WriteString(of.Group)
	}
	resource = b.Len()
	_ = b.WriteByte('/')
	for _, part := range []string{key, from, to} {
		_, _ = b.WriteString(part)
	}
	return b.String(), resource
}

// cacheManifests takes over the manifests of the change if there is room; the
// caller holds State.mu.
func (q *Queued) cacheManifests() {
	s, m := q.state, q.change.warm
	q.change.warm = nil
	if m != nil && s.warm+m.size() <= maxWarm {
		q.warm = m
		s.warm += m.size()
	}
}

// takeManifests gives the manifests that are warm, once, with their change; nil:
// they have to be read. The caller holds State.mu.
func (q *Queued) takeManifests() (*Change, *manifests) {
	m := q.warm
	if m == nil {
		return nil, nil
	}
	c := q.change
	q.state.warm -= m.size()
	if q.warm = nil; q.written {
		q.change = nil
	}
	return c, m
}

// Lane names the object: its changes stay in order.
func (q *Queued) Lane() string { return q.lane }

// Resource is that of the object.
func (q *Queued) Resource() schema.GroupResource { return q.scope.Resource.GroupResource() }

// Key is the object's name within its resource, as object.Key gives it.
func (q *Queued) Key() string { return q.key }

// From is the resourceVersion of the object before the change; empty: there was
// none.
func (q *Queued) From() string { return q.from }

// To is the resourceVersion of the object after the change; empty: it is gone.
func (q *Queued) To() string { return q.to }

// read gives the change from memory, or from the store.
func (q *Queued) read() (*Change, error) {
	q.state.mu.Lock()
	c := q.change
	q.state.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := q.state.store.change(q.seq)
	if err == nil && c == nil {
		err = fmt.Errorf("change %d of %s is not in the state", q.seq, q.lane)
	}
	return c, err
}

// Name gives the event's id and subject, as far as the change can be read.
func (q *Queued) Name() (id, subject string) {
	c, err := q.read()
	if err != nil {
		return "", q.lane
	}
	return c.ID(), c.Subject()
}

// Event builds the event, which is the input of the first step.
func (q *Queued) Event() (*event.Event, error) {
	q.state.mu.Lock()
	c, m := q.takeManifests()
	q.state.mu.Unlock()
	if m != nil {
		return c.event(*m), nil
	}
	c, err := q.read()
	if err != nil {
		return nil, err
	}
	return c.Event(q.state.codec)
}

// Keep keeps the packed input of a step while the change waits for it, in place
// of the one before; before says which steps are behind it. nil: none is kept
// any more. It is written soon, not at once, and outlives the process with the
// change. The caller must not change input any more.
func (q *Queued) Keep(step int, before string, input []byte) {
	s := q.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.done {
		return
	}
	s.bytes -= q.kept.bytes()
	if q.kept = nil; input == nil {
		s.store.keep(q.seq, nil)
	} else {
		q.kept = &keptRef{step: step, before: before, size: len(input)}
		s.bytes += len(input)
		s.store.keep(q.seq, &keptInput{step: step, before: before, input: input})
	}
	s.changed.Broadcast()
}

// KeptStep is what Keep was told with the input that is kept, perhaps by an
// earlier process; not ok: none is. It is cheap.
func (q *Queued) KeptStep() (step int, before string, ok bool) {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	if q.kept == nil {
		return 0, "", false
	}
	return q.kept.step, q.kept.before, true
}

// Kept is the input that is kept, or nil.
func (q *Queued) Kept() ([]byte, error) {
	if _, _, ok := q.KeptStep(); !ok {
		return nil, nil
	}
	return q.state.store.input(q.seq)
}

// Done acknowledges the change, which is delivered or in the dead letter; again
// is no harm. It is written soon, not at once: a crash shortly after may deliver
// the change once more.
func (q *Queued) Done() {
	q.state.mu.Lock()
	defer q.state.mu.Unlock()
	q.state.acknowledge(q)
}
