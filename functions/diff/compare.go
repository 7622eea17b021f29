package diff

import (
	"maps"
	"reflect"
	"slices"

	"github.com/kwatchman/kwatchman/event"
)

// The words of event.FieldChange.Op.
const (
	opAdd     = "add"
	opRemove  = "remove"
	opReplace = "replace"
	opReorder = "reorder" // a list whose order counts; from and to are the items' names
)

// comparison walks two manifests side by side and collects what differs: keys
// in order, the items of lists by what they are known by, a subtree that only
// one side has as one change.
type comparison struct {
	at      path
	kind    kind
	changes []event.FieldChange
	room    int // bytes that changes may still take
	total   int // changes found, whether they had room or not
	notes   []note
	// reordered are the lists whose items only changed places, where places
	// have no meaning; order makes that a change.
	reordered []string
	order     bool
	// aligned is the new manifest with such lists in the old one's order.
	aligned map[string]any
}

// note is a change as the summary needs it: with whole values, for it may have
// had no room among the changes.
type note struct {
	at       path
	op       string
	from, to any
}

// maxNotes bounds what the summary chooses from.
const maxNotes = 256

// maxReordered bounds the lists that a reason may name.
const maxReordered = maxHeld + 1

func compare(old, new map[string]any, limit int, order bool) *comparison {
	c := &comparison{room: limit, kind: kindOf(new), order: order}
	c.aligned, _ = c.maps(old, new)
	return c
}

func (c *comparison) omitted() int { return c.total - len(c.changes) }

// values compares two values. It gives the new one in the order of the old, and
// whether that is another one.
func (c *comparison) values(old, new any) (aligned any, other bool) {
	if identical(old, new) {
		return new, false
	}
	switch o := old.(type) {
	case map[string]any:
		if n, ok := new.(map[string]any); ok {
			return c.maps(o, n)
		}
	case []any:
		if n, ok := new.([]any); ok {
			return c.lists(o, n)
		}
	default:
		if sameScalar(old, new) || c.inside(old, new) {
			return new, false
		}
	}
	c.record(opReplace, old, new)
	return new, false
}

func (c *comparison) maps(old, new map[string]any) (aligned map[string]any, other bool) {
	aligned = new
	for _, key := range keysOf(old, new) {
		o, inOld := old[key]
		n, inNew := new[key]
		c.at = append(c.at, key)
		if v, ok := c.sides(o, inOld, n, inNew); ok {
			if !other {
				aligned, other = maps.Clone(new), true
			}
			aligned[key] = v
		}
		c.at = c.at[:len(c.at)-1]
	}
	return aligned, other
}

func (c *comparison) sides(old any, inOld bool, new any, inNew bool) (aligned any, other bool) {
	switch {
	case !inOld:
		c.record(opAdd, nil, new)
	case !inNew:
		c.record(opRemove, old, nil)
	default:
		return c.values(old, new)
	}
	return new, false
}

// item is sides for what stands below one more element of the path.
func (c *comparison) item(element any, old any, inOld bool, new any, inNew bool) (aligned any, other bool) {
	c.at = append(c.at, element)
	defer func() { c.at = c.at[:len(c.at)-1] }()
	return c.sides(old, inOld, new, inNew)
}

func (c *comparison) record(op string, from, to any) {
	c.total++
	if len(c.notes) < maxNotes {
		c.notes = append(c.notes, note{at: slices.Clone(c.at), op: op, from: from, to: to})
	}
	if c.room <= 0 {
		return
	}
	change := event.FieldChange{Op: op, Path: c.at.String(), From: from, To: to}
	size := len(`{"op":"replace","path":,"from":,"to":},`) + encodedString(change.Path)
	if op != opAdd {
		change.From, size = fit(from, size)
	}
	if op != opRemove {
		change.To, size = fit(to, size)
	}
	if c.room -= size; c.room >= 0 {
		c.changes = append(c.changes, change)
	}
}

// fit clips a value and adds the size of what is left of it to size.
func fit(v any, size int) (any, int) {
	v = readable(v)
	n := encodedSize(v)
	if n <= maxValue {
		return v, size + n
	}
	v = clipValue(v, n)
	return v, size + encodedSize(v)
}

// identical tells whether two values are one map or one list: what stands in
// both manifests is decoded once and need not be compared.
func identical(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
	case []any:
		b, ok := b.([]any)
		return ok && len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
	}
	return false
}

// same tells whether two decoded JSON values are equal, numbers digit by digit.
func same(a, b any) bool {
	if identical(a, b) {
		return true
	}
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key, value := range a {
			if other, ok := b[key]; !ok || !same(value, other) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, same)
	default:
		return sameScalar(a, b)
	}
}

// sameScalar compares a value that is no map and no list with any other.
func sameScalar(a, b any) bool {
	switch b.(type) {
	case map[string]any, []any:
		return false // and == would panic
	}
	return a == b
}
