package object

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// fieldsEntry is an entry of metadata.managedFields.
type fieldsEntry struct {
	Manager     string          `json:"manager"`
	Operation   string          `json:"operation"`
	Subresource string          `json:"subresource"`
	Time        *time.Time      `json:"time"`
	FieldsV1    json.RawMessage `json:"fieldsV1"`
}

func readFields(raw json.RawMessage) ([]fieldsEntry, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var entries []fieldsEntry
	err := json.Unmarshal(raw, &entries)
	return entries, err
}

func (f fieldsEntry) summary() event.Manager {
	return event.Manager{Manager: f.Manager, Operation: f.Operation, Subresource: f.Subresource, Time: f.Time}
}

func managersOf(entries []fieldsEntry) []event.Manager {
	out := make([]event.Manager, len(entries))
	for i, e := range entries {
		out[i] = e.summary()
	}
	return out
}

// node is a part of one entry's fieldsV1, a set of paths written as a tree
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management).
type node struct {
	entry  int
	fields map[string]json.RawMessage
}

// ChangedBy names the field managers of o that own a path whose value differs
// from the old version (the deepest owner wins), else those whose time
// advanced, else nobody. old and manifest are the two versions, unpacked; old
// is nil on Add. o must not be settled yet.
func (o *Object) ChangedBy(old, manifest []byte, oldManagers []event.Manager) ([]event.Manager, error) {
	var oldValue, newValue any
	if len(old) > 0 {
		if err := decodeValue(old, &oldValue); err != nil {
			return nil, err
		}
	}
	if err := decodeValue(manifest, &newValue); err != nil {
		return nil, err
	}
	roots := make([]node, 0, len(o.fields))
	for i, e := range o.fields {
		if n, ok := openNode(i, e.FieldsV1); ok && len(n.fields) > 0 { // an empty set is no leaf
			roots = append(roots, n)
		}
	}
	owners := map[int]bool{}
	attribute(roots, oldValue, newValue, old != nil, true, owners)
	if len(owners) == 0 {
		o.advanced(oldManagers, owners)
	}
	out := []event.Manager{}
	for i, e := range o.fields {
		if owners[i] {
			out = append(out, e.summary())
		}
	}
	return out, nil
}

func decodeValue(raw []byte, into *any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return safe(err)
	}
	return nil
}

func openNode(entry int, raw json.RawMessage) (node, bool) {
	n := node{entry: entry}
	return n, len(raw) > 0 && json.Unmarshal(raw, &n.fields) == nil
}

// attribute adds to owners the entries that own what differs at or below one
// path, and tells whether there were any. hadOld and hasNew say whether the
// path exists on either side.
func attribute(nodes []node, oldValue, newValue any, hadOld, hasNew bool, owners map[int]bool) bool {
	if hadOld == hasNew && reflect.DeepEqual(oldValue, newValue) {
		return false
	}
	children := map[string][]node{}
	for _, n := range nodes {
		for key, raw := range n.fields {
			if key == "." {
				continue
			}
			if child, ok := openNode(n.entry, raw); ok {
				children[key] = append(children[key], child)
			}
		}
	}
	found := false
	oldSide, newSide := finder{value: oldValue}, finder{value: newValue}
	for key, below := range children {
		oldChild, hadChild := oldSide.step(key)
		newChild, hasChild := newSide.step(key)
		if attribute(below, oldChild, newChild, hadChild, hasChild, owners) {
			found = true
		}
	}
	if found {
		return true // the deepest owner wins
	}
	for _, n := range nodes {
		_, dot := n.fields["."]
		// A leaf owns the whole value; "." owns that the map or item exists.
		if len(n.fields) == 0 || dot && !hadOld && hasNew {
			owners[n.entry] = true
			found = true
		}
	}
	return found
}

// advanced adds the entries whose time is later than in the old version; an
// entry that the old version did not have counts when it has a time. One
// manager may have an entry for each API version, which oldManagers do not
// tell apart; a time that is known from any of them is not news.
func (o *Object) advanced(oldManagers []event.Manager, owners map[int]bool) {
	for i, e := range o.fields {
		if e.Time == nil {
			continue
		}
		owners[i] = !slices.ContainsFunc(oldManagers, func(m event.Manager) bool {
			return m.Manager == e.Manager && m.Operation == e.Operation && m.Subresource == e.Subresource &&
				m.Time != nil && !m.Time.Before(*e.Time)
		})
	}
}
