package diff

import (
	"slices"
	"strconv"
	"strings"
)

// matching says which items of two lists are the same one.
type matching struct {
	old, new []any
	newOf    []int // for each old item the new one, or -1
	oldOf    []int
	names    []label // of the new items; empty: its index
	oldNames []label
}

// few bounds how many items without keys are compared each with each.
const few = 64

func match(k kind, field string, old, new []any) *matching {
	m := &matching{
		old: old, new: new, newOf: unmatched(len(old)), oldOf: unmatched(len(new)),
		names: make([]label, len(new)), oldNames: make([]label, len(old)),
	}
	candidates := k.keys(field)
	found := slices.ContainsFunc(candidates, m.byKeys)
	m.byValue()
	if !found { // what has changed may well have keys
		_ = slices.ContainsFunc(candidates, m.byKeys)
	}
	if !found || !keyed(field) && field != "tolerations" && field != "taints" {
		m.byLikeness()
	} else {
		m.byKeys([]string{"name"}) // a port that moved keeps its name
	}
	return m
}

func unmatched(n int) []int { return slices.Repeat([]int{-1}, n) }

func (m *matching) pair(o, n int) { m.newOf[o], m.oldOf[n] = n, o }

// byKeys matches what is not matched yet by the values of some members, if all
// of these items have them and no two the same.
func (m *matching) byKeys(keys []string) bool {
	olds, ok := identities(m.old, m.newOf, keys)
	if !ok {
		return false
	}
	news, ok := identities(m.new, m.oldOf, keys)
	if !ok {
		return false
	}
	for id, n := range news {
		if o, ok := olds[id]; ok {
			m.pair(o, n)
		}
	}
	name(m.names, m.new, news, keys)
	name(m.oldNames, m.old, olds, keys)
	return len(olds)+len(news) > 0
}

// name gives the items what they are known by, unless they have a name.
func name(names []label, items []any, ids map[string]int, keys []string) {
	for _, i := range ids {
		if names[i] == "" {
			names[i] = label(nameOf(items[i], keys))
		}
	}
	byName := map[label]int{}
	for _, n := range names {
		byName[n]++
	}
	for i, n := range names {
		if n != "" && byName[n] > 1 {
			names[i] = label(identity(items[i], keys, "/"))
		}
	}
}

// nameOf is what people know an item by: its name if it has one, else the
// values of its keys, of a rule what it speaks of.
func nameOf(item any, keys []string) string {
	m, _ := item.(map[string]any)
	if s, ok := m["name"].(string); ok && s != "" {
		return s
	}
	if keys[0] == "apiGroups" {
		for _, key := range []string{"resources", "nonResourceURLs"} {
			if s := identity(item, []string{key}, ""); s != "" {
				return s
			}
		}
	}
	return identity(item, keys, "/")
}

// identities are the items that are not matched by the values of their keys.
func identities(items []any, matched []int, keys []string) (ids map[string]int, ok bool) {
	for i, item := range items {
		if matched[i] >= 0 {
			continue
		}
		m, _ := item.(map[string]any)
		if _, has := m[keys[0]]; !has && len(keys) == 1 {
			return nil, false
		}
		id := identity(item, keys, "\x00")
		if strings.Trim(id, "\x00") == "" {
			return nil, false
		}
		if _, twice := ids[id]; twice {
			return nil, false
		}
		if ids == nil {
			ids = make(map[string]int, len(items)-i)
		}
		ids[id] = i
	}
	return ids, true
}

// identity joins the values of an item's keys: scalars, or lists of them. It is
// empty for what is no map.
func identity(item any, keys []string, separator string) string {
	m, _ := item.(map[string]any)
	if len(keys) == 1 {
		return memberText(m[keys[0]])
	}
	parts := make([]string, 0, len(keys))
	for _, key := range keys {
		if s := memberText(m[key]); s != "" || separator == "\x00" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, separator)
}

func memberText(v any) string {
	if list, ok := v.([]any); ok {
		parts := make([]string, 0, len(list))
		for _, item := range list {
			if s, ok := scalarText(item); ok {
				parts = append(parts, s)
			}
		}
		slices.Sort(parts)
		return strings.Join(parts, ",")
	}
	s, _ := scalarText(v)
	return s
}

// byValue matches equal items, first ones first.
func (m *matching) byValue() {
	there := map[string][]int{}
	for n, item := range m.new {
		if m.oldOf[n] < 0 {
			id := canonical(item)
			there[id] = append(there[id], n)
		}
	}
	for o, item := range m.old {
		if m.newOf[o] >= 0 || len(there) == 0 {
			continue
		}
		id := canonical(item)
		if same := there[id]; len(same) > 0 {
			m.pair(o, same[0])
			there[id] = same[1:]
		}
	}
}

// canonical is the same for equal values only.
func canonical(v any) string {
	var w jsonWriter
	w.value(v)
	return string(w.out)
}

// byLikeness matches items without keys that share most of their content: each
// with the one that is most like it.
func (m *matching) byLikeness() {
	olds, news := open(m.newOf), open(m.oldOf)
	if len(olds)*len(news) > few*few {
		return
	}
	contents := make([]map[string]bool, len(news))
	for i, n := range news {
		contents[i] = content(m.new[n])
	}
	for _, o := range olds {
		mine := content(m.old[o])
		best, at := leastLike, -1
		for i, n := range news {
			if m.oldOf[n] < 0 {
				if l := likeness(mine, contents[i]); l > best {
					best, at = l, n
				}
			}
		}
		if at >= 0 {
			m.pair(o, at)
		}
	}
}

// leastLike is what two versions of one item have in common at least.
const leastLike = 0.3

func open(matched []int) (at []int) {
	for i, other := range matched {
		if other < 0 {
			at = append(at, i)
		}
	}
	return at
}

func likeness(a, b map[string]bool) float64 {
	both := 0
	for leaf := range a {
		if b[leaf] {
			both++
		}
	}
	if both == 0 {
		return 0
	}
	return float64(both) / float64(len(a)+len(b)-both)
}

// maxLeaves bounds what of an item is looked at.
const maxLeaves = 256

// content is the set of a map's leaves, each with its path without indexes. Of
// what is no map it is empty: nothing is like it.
func content(item any) map[string]bool {
	leaves := map[string]bool{}
	if m, ok := item.(map[string]any); ok {
		addLeaves(leaves, "", m)
	}
	return leaves
}

func addLeaves(leaves map[string]bool, at string, v any) {
	if len(leaves) >= maxLeaves || len(at) > 1<<10 {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for _, key := range sortedKeys(v) {
			addLeaves(leaves, at+"\x00"+key, v[key])
		}
	case []any:
		for _, item := range v {
			addLeaves(leaves, at, item)
		}
	default:
		s, _ := scalarText(v)
		leaves[at+"\x00"+strconv.Itoa(len(s))+s] = true
	}
}
