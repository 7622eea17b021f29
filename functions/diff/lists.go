package diff

import (
	"cmp"
	"slices"

	"github.com/aymanbagabas/go-udiff/lcs"
)

// lists compares two lists: of maps by what their items are known by, of
// anything else value by value. A list where places have no meaning is given
// in the old one's order.
func (c *comparison) lists(old, new []any) (aligned []any, other bool) {
	field := ""
	if len(c.at) > 0 {
		field, _ = c.at[len(c.at)-1].(string)
	}
	switch {
	case allMaps(old) && allMaps(new):
		return c.matched(match(c.kind, field, old, new), field)
	case c.unordered(field, old) && allScalars(old) && allScalars(new):
		m := &matching{
			old: old, new: new, newOf: unmatched(len(old)), oldOf: unmatched(len(new)),
			names: valueNames(new), oldNames: valueNames(old),
		}
		m.byValue()
		return c.matched(m, field)
	case onlyReordered(old, new):
		c.record(opReorder, old, new)
		return new, false
	}
	c.sequence(old, new)
	return new, false
}

// onlyReordered tells whether two lists of scalars differ in their order alone.
func onlyReordered(old, new []any) bool {
	if len(old) != len(new) || !allScalars(old) || !allScalars(new) {
		return false
	}
	a, b := canonicals(old), canonicals(new)
	if slices.Equal(a, b) {
		return false
	}
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func allMaps(l []any) bool {
	return !slices.ContainsFunc(l, func(v any) bool { _, ok := v.(map[string]any); return !ok })
}

func allScalars(l []any) bool {
	return !slices.ContainsFunc(l, func(v any) bool { _, ok := scalarText(v); return !ok })
}

func valueNames(l []any) []label {
	names := make([]label, len(l))
	for i, v := range l {
		s, _ := scalarText(v)
		names[i] = label(s)
	}
	return names
}

// matched compares the items that were found to be the same, and records those
// that only one side has.
func (c *comparison) matched(m *matching, field string) (aligned []any, other bool) {
	items := slices.Clip(m.new)
	replace := func(n int, v any) {
		if !other {
			items, other = slices.Clone(m.new), true
		}
		items[n] = v
	}
	for o, n := range m.newOf {
		if n < 0 {
			_, _ = c.item(element(m.oldNames, o), m.old[o], true, nil, false)
		} else if v, ok := c.item(element(m.names, n), m.old[o], true, m.new[n], true); ok {
			replace(n, v)
		}
	}
	for n, o := range m.oldOf {
		if o < 0 {
			_, _ = c.item(element(m.names, n), nil, false, m.new[n], true)
		}
	}
	if m.inOrder() {
		return items, other
	}
	if !c.unordered(field, m.old) {
		c.record(opReorder, m.order(m.oldNames, m.newOf), m.order(m.names, m.oldOf))
		return items, other
	}
	if len(c.reordered) < maxReordered {
		c.reordered = append(c.reordered, c.at.String())
	}
	return m.inOldOrder(items), true
}

// element is what an item adds to the path.
func element(names []label, i int) any {
	if names[i] == "" {
		return i
	}
	return names[i]
}

// inOrder tells whether the items of both sides stand in the same order.
func (m *matching) inOrder() bool {
	last := -1
	for _, n := range m.newOf {
		if n < 0 {
			continue
		}
		if n < last {
			return false
		}
		last = n
	}
	return true
}

// order is what the items are called that both sides have.
func (m *matching) order(names []label, matched []int) []any {
	var all []any
	for i, other := range matched {
		if other < 0 {
			continue
		}
		if names[i] == "" {
			all = append(all, path{i}.String())
			continue
		}
		all = append(all, string(names[i]))
	}
	return all
}

// inOldOrder is the new list with the items that both sides have in the order of
// the old one; each new item stays behind the one that it follows.
func (m *matching) inOldOrder(items []any) []any {
	type placed struct {
		behind, at int // in the old list, in the new one
	}
	order, last := make([]placed, len(items)), -1
	for n, o := range m.oldOf {
		if o >= 0 {
			last = o
		}
		order[n] = placed{last, n}
	}
	slices.SortStableFunc(order, func(a, b placed) int { return cmp.Compare(a.behind, b.behind) })
	out := make([]any, len(items))
	for i, p := range order {
		out[i] = items[p.at]
	}
	return out
}

// sequence compares lists whose order counts: what is replaced at its place is
// compared, what was put in or taken out is a change of its own.
func (c *comparison) sequence(old, new []any) {
	for _, e := range lcs.DiffLines(canonicals(old), canonicals(new)) {
		n := min(e.End-e.Start, e.ReplEnd-e.ReplStart)
		for i := range n {
			o, n := e.Start+i, e.ReplStart+i
			if shape(old[o]) == shape(new[n]) {
				_, _ = c.item(n, old[o], true, new[n], true)
				continue
			}
			_, _ = c.item(o, old[o], true, nil, false)
			_, _ = c.item(n, nil, false, new[n], true)
		}
		for i := e.Start + n; i < e.End; i++ {
			_, _ = c.item(i, old[i], true, nil, false)
		}
		for i := e.ReplStart + n; i < e.ReplEnd; i++ {
			_, _ = c.item(i, nil, false, new[i], true)
		}
	}
}

// shape tells maps, lists and scalars from each other: one does not become
// another, it makes room for it.
func shape(v any) int {
	switch v.(type) {
	case map[string]any:
		return 1
	case []any:
		return 2
	}
	return 0
}

func canonicals(l []any) []string {
	all := make([]string, len(l))
	for i, v := range l {
		all[i] = canonical(v)
	}
	return all
}
