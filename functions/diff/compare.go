package diff

import (
	"reflect"
	"slices"

	"github.com/kwatchman/kwatchman/event"
)

// The words of event.FieldChange.Op.
const (
	opAdd     = "add"
	opRemove  = "remove"
	opReplace = "replace"
)

// comparison walks two manifests side by side and collects what differs: keys
// in order, lists by index, a subtree that only one side has as one change.
type comparison struct {
	at      path
	changes []event.FieldChange
	room    int // bytes that changes may still take
	total   int // changes found, whether they had room or not
	// lead is the change that the summary names: the first one, preferably
	// outside metadata. It is kept apart because it may have had no room.
	lead event.FieldChange
	meta bool // lead is in metadata
}

func compare(old, new map[string]any, limit int) *comparison {
	c := &comparison{room: limit}
	c.maps(old, new)
	return c
}

func (c *comparison) omitted() int { return c.total - len(c.changes) }

func (c *comparison) values(old, new any) {
	if identical(old, new) {
		return
	}
	switch o := old.(type) {
	case map[string]any:
		if n, ok := new.(map[string]any); ok {
			c.maps(o, n)
			return
		}
	case []any:
		if n, ok := new.([]any); ok {
			c.lists(o, n)
			return
		}
	default:
		if sameScalar(old, new) {
			return
		}
	}
	c.record(opReplace, old, new)
}

func (c *comparison) maps(old, new map[string]any) {
	for _, key := range keysOf(old, new) {
		o, inOld := old[key]
		n, inNew := new[key]
		c.at = append(c.at, key)
		c.sides(o, inOld, n, inNew)
		c.at = c.at[:len(c.at)-1]
	}
}

func (c *comparison) lists(old, new []any) {
	for i := range max(len(old), len(new)) {
		var o, n any
		if i < len(old) {
			o = old[i]
		}
		if i < len(new) {
			n = new[i]
		}
		c.at = append(c.at, i)
		c.sides(o, i < len(old), n, i < len(new))
		c.at = c.at[:len(c.at)-1]
	}
}

func (c *comparison) sides(old any, inOld bool, new any, inNew bool) {
	switch {
	case !inOld:
		c.record(opAdd, nil, new)
	case !inNew:
		c.record(opRemove, old, nil)
	default:
		c.values(old, new)
	}
}

func (c *comparison) record(op string, from, to any) {
	c.total++
	meta := c.at[0] == "metadata"
	if c.total == 1 || c.meta && !meta {
		c.lead = event.FieldChange{Op: op, Path: c.at.String(), From: from, To: to}
		c.meta = meta
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
