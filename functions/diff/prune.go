package diff

import (
	"maps"
	"reflect"
	"strings"
)

// pruner takes what patterns select out of a manifest. The manifest shares its
// parts with another one, so a map is copied before something is taken out.
type pruner struct {
	own   map[uintptr]bool // copies, which may be changed
	at    path
	found func(at path, v any) // what was taken out
	// noise leaves an emptied map, as event.Clean does, but for those that
	// Clean takes away.
	noise bool
}

// prune is m without what a pattern selects.
func (p *pruner) prune(m map[string]any, of pattern) map[string]any {
	p.at = p.at[:0]
	out, _ := p.members(m, of.elements)
	return out
}

func (p *pruner) value(v any, elements []glob) (out any, changed bool) {
	switch v := v.(type) {
	case map[string]any:
		return p.members(v, elements)
	case []any:
		return p.items(v, elements)
	}
	return v, false
}

// members follows the elements into a map. Each element but the last leads
// further down; a map that is emptied by that goes too.
func (p *pruner) members(m map[string]any, elements []glob) (out map[string]any, changed bool) {
	out = m
	follow := func(key string, rest []glob) {
		child, ok := out[key]
		if !ok {
			return
		}
		p.at = append(p.at, key)
		defer func() { p.at = p.at[:len(p.at)-1] }()
		if len(rest) == 0 {
			out, changed = p.owned(out), true
			p.found(p.at, child)
			delete(out, key)
			return
		}
		child, ok = p.value(child, rest)
		empty := p.empties(key, child, ok)
		if !ok && !empty {
			return
		}
		if out, changed = p.owned(out), true; empty {
			delete(out, key)
			return
		}
		out[key] = child
	}
	if elements[0].deep {
		if o, ok := p.members(m, elements[1:]); ok {
			out, changed = o, true
		}
		for _, key := range sortedKeys(m) {
			follow(key, elements)
		}
		return out, changed
	}
	forKeys(m, elements, follow)
	return out, changed
}

// empties tells whether a map goes because nothing is left in it.
func (p *pruner) empties(key string, v any, changed bool) bool {
	m, ok := v.(map[string]any)
	if !ok || len(m) > 0 {
		return false
	}
	if p.noise {
		return key == "metadata" || key == "annotations"
	}
	return changed
}

// forKeys gives the keys of a map that the first elements select, each with the
// elements behind: keys hold dots that a pattern may take for its own.
func forKeys(m map[string]any, elements []glob, follow func(key string, rest []glob)) {
	joined := ""
	for n, g := range elements {
		if n > 0 && (g.deep || g.item || g.whole || elements[0].whole) {
			return
		}
		if n == 0 {
			joined = g.text
		} else {
			joined += "." + g.text
		}
		if !strings.Contains(joined, "*") {
			follow(joined, elements[n+1:])
			continue
		}
		for _, key := range sortedKeys(m) {
			if strings.Count(key, ".") >= n && (glob{text: joined}).matches(key) {
				follow(key, elements[n+1:])
			}
		}
	}
}

func (p *pruner) items(l []any, elements []glob) (out []any, changed bool) {
	rest := elements[1:]
	if elements[0].deep {
		if o, ok := p.items(l, rest); ok {
			l, changed = o, true
		}
		rest = elements
	}
	for i, item := range l {
		if elements[0].deep || elements[0].itemMatches(i, item) {
			p.at = append(p.at, nameOrIndex(i, item))
			if len(rest) == 0 {
				p.found(p.at, item)
			}
			kept, ok := p.value(item, rest)
			p.at = p.at[:len(p.at)-1]
			if len(rest) == 0 || ok {
				if !changed || out == nil {
					out, changed = append(make([]any, 0, len(l)), l[:i]...), true
				}
				if len(rest) > 0 {
					out = append(out, kept)
				}
				continue
			}
		}
		if out != nil {
			out = append(out, item)
		}
	}
	if out == nil {
		return l, changed
	}
	return out, changed
}

// nameOrIndex is what an item of a list adds to the path: its name, or its index.
func nameOrIndex(i int, item any) any {
	m, _ := item.(map[string]any)
	if name, ok := m["name"].(string); ok && name != "" {
		return label(name)
	}
	return i
}

// owned is m, or a copy of it if somebody else may hold it.
func (p *pruner) owned(m map[string]any) map[string]any {
	if p.own[reflect.ValueOf(m).Pointer()] {
		return m
	}
	m = maps.Clone(m)
	p.own[reflect.ValueOf(m).Pointer()] = true
	return m
}
