package object

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/kwatchman/kwatchman/event"
)

// comparison is what one comparison of two versions needs for a moment.
type comparison struct {
	old, now, fields tape
	sets             []set // a stack
	owners           []int32
}

var comparisons = sync.Pool{New: func() any { return &comparison{} }}

// set is a part of one entry's fieldsV1, a set of paths written as a tree
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management),
// with what lies at its path on both sides.
type set struct {
	entry    int32
	at       int32 // in fields
	name     []byte
	old, now int32
}

// ChangedBy names the field managers of o that own a path whose value differs
// from the old version (the deepest owner wins), else those whose time
// advanced, else nobody. old and manifest are the two versions, unpacked; old
// is nil on Add. o must not be settled yet.
func (o *Object) ChangedBy(old, manifest []byte, oldManagers Managers) ([]event.Manager, error) {
	out := []event.Manager{}
	if o.fresh == nil {
		return out, nil
	}
	fields := o.fresh.fields
	if zip := o.fresh.zip; zip != nil {
		var err error
		if fields, err = zip.Decompress(fields); err != nil {
			return nil, fmt.Errorf("unpack managedFields: %w", err)
		}
	}
	if len(fields) == 0 {
		return out, nil
	}
	c := comparisons.Get().(*comparison)
	defer c.done()
	if err := c.read(old, manifest, fields); err != nil {
		return nil, err
	}
	entries, err := c.entries()
	if err != nil {
		return nil, err
	}
	if !c.attribute(0, len(c.sets), c.oldRoot(), 0) {
		before, err := oldManagers.read()
		if err != nil {
			return nil, err
		}
		c.advanced(entries, before)
	}
	for i, e := range entries {
		if slices.Contains(c.owners, int32(i)) {
			out = append(out, e)
		}
	}
	return out, nil
}

func (c *comparison) done() {
	clear(c.sets[:cap(c.sets)])
	c.sets, c.owners = c.sets[:0], c.owners[:0]
	for _, t := range []*tape{&c.old, &c.now, &c.fields} {
		t.raw = nil
		if cap(t.at) > muchPlaces {
			t.at = nil
		}
	}
	comparisons.Put(c)
}

// muchPlaces is how many places of a large manifest are kept room for.
const muchPlaces = 16 << 10

func (c *comparison) read(old, manifest, fields []byte) error {
	c.old.raw, c.old.at = nil, c.old.at[:0]
	if len(old) > 0 {
		if err := c.old.read(old); err != nil {
			return err
		}
	}
	return errors.Join(c.now.read(manifest), c.fields.read(fields))
}

func (c *comparison) oldRoot() int32 {
	if len(c.old.at) == 0 {
		return none
	}
	return 0
}

// entries reads who wrote, and puts what each owns onto the stack.
func (c *comparison) entries() ([]event.Manager, error) {
	var all []event.Manager
	f := &c.fields
	for at := f.first(0); at != none; at = f.after(0, at) {
		var m event.Manager
		if f.kind(at) == '{' {
			for part := f.first(at); part != none; part = f.after(at, part) {
				if err := c.note(&m, len(all), part); err != nil {
					return nil, err
				}
			}
		}
		all = append(all, m)
	}
	return all, nil
}

// note takes over one member of an entry.
func (c *comparison) note(m *event.Manager, entry int, part int32) error {
	f := &c.fields
	value := f.bytes(part)
	var into *string
	switch string(f.name(part)) {
	case "manager":
		into = &m.Manager
	case "operation":
		into = &m.Operation
	case "subresource":
		into = &m.Subresource
	case "time":
		if string(value) == "null" {
			return nil
		}
		at, err := timeOf(value)
		m.Time = &at
		return err
	case "fieldsV1":
		if f.kind(part) == '{' && f.first(part) != none { // an empty set is no leaf
			c.sets = append(c.sets, set{entry: int32(entry), at: part}) //nolint:gosec // far fewer
		}
	}
	if into != nil {
		name, err := text(value)
		if err != nil {
			return err
		}
		*into = string(name)
	}
	return nil
}

// attribute adds to the owners the entries that own what differs at or below one
// path, of which the sets from lo to hi speak, and tells whether there were any.
func (c *comparison) attribute(lo, hi int, old, now int32) bool {
	if !c.differ(old, now) {
		return false
	}
	base := len(c.sets)
	defer func() { c.sets = c.sets[:base] }()
	c.descend(lo, hi, old, now)
	below := c.sets[base:]
	slices.SortStableFunc(below, func(a, b set) int { return bytes.Compare(a.name, b.name) })
	found := false
	for i, end := base, len(c.sets); i < end; {
		j := i + 1
		for j < end && bytes.Equal(c.sets[i].name, c.sets[j].name) {
			j++
		}
		if c.attribute(i, j, c.sets[i].old, c.sets[i].now) {
			found = true
		}
		i = j
	}
	return found || c.own(lo, hi, old, now) // the deepest owner wins
}

// differ tells whether two values are not written alike.
func (c *comparison) differ(old, now int32) bool {
	if old == none || now == none {
		return old != now
	}
	return !bytes.Equal(c.old.bytes(old), c.now.bytes(now))
}

// countedByServer is an annotation that the API server counts up itself at each
// new template of a DaemonSet, in the name of who made the object.
const countedByServer = "f:deprecated.daemonset.template.generation"

// descend puts onto the stack what the sets say of paths one element longer,
// where both sides differ.
func (c *comparison) descend(lo, hi int, old, now int32) {
	f := &c.fields
	oldSide, nowSide := newFinder(&c.old, old), newFinder(&c.now, now)
	for i := lo; i < hi; i++ {
		s := c.sets[i]
		for at := f.first(s.at); at != none; at = f.after(s.at, at) {
			name := f.name(at)
			if k := f.kind(at); string(name) == "." || string(name) == countedByServer || k != '{' && k != 'n' {
				continue
			}
			o, n := oldSide.step(name), nowSide.step(name)
			if c.differ(o, n) {
				c.sets = append(c.sets, set{entry: s.entry, at: at, name: name, old: o, now: n})
			}
		}
	}
}

// own adds the entries that own the value itself. A leaf owns the whole value;
// "." owns that the map or item exists.
func (c *comparison) own(lo, hi int, old, now int32) bool {
	var found, compared bool
	for _, s := range c.sets[lo:hi] {
		leaf := c.fields.first(s.at) == none
		if leaf && !compared && old != none && now != none {
			if same(c.old.bytes(old), c.now.bytes(now)) {
				return false
			}
			compared = true
		}
		if leaf || c.exists(s.at) && old == none {
			c.owners = append(c.owners, s.entry)
			found = true
		}
	}
	return found
}

// exists tells whether a set has the element ".".
func (c *comparison) exists(at int32) bool {
	f := &c.fields
	for m := f.first(at); m != none; m = f.after(at, m) {
		if string(f.name(m)) == "." {
			return true
		}
	}
	return false
}

// advanced adds the entries whose time is later than in the old version; an
// entry that the old version did not have counts when it has a time. One
// manager may have an entry for each API version, which the old managers do not
// tell apart; a time that is known from any of them is not news.
func (c *comparison) advanced(entries, before []event.Manager) {
	for i, e := range entries {
		if e.Time == nil {
			continue
		}
		if !slices.ContainsFunc(before, func(m event.Manager) bool {
			return m.Manager == e.Manager && m.Operation == e.Operation && m.Subresource == e.Subresource &&
				m.Time != nil && !m.Time.Before(*e.Time)
		}) {
			c.owners = append(c.owners, int32(i))
		}
	}
}
