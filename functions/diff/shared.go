package diff

import "reflect"

// renderBoth is renderYAML of each manifest with the other one as its peer.
// What the two share is written once.
func renderBoth(old, new map[string]any) (before, after string) {
	o := yamlWriter{blocks: map[uintptr]block{}}
	o.Grow(8 << 10) // few are larger
	o.manifest(old, new)
	before = o.String()
	n := yamlWriter{blocks: o.blocks, written: before, keys: o.keys}
	n.Grow(len(before) + len(before)/8)
	n.manifest(new, old)
	return before, n.String()
}

// block is the text of a map or list, which depends on nothing but where that
// stands.
type block struct {
	begin, end int
	at         place
}

type place struct {
	indent, depth int
	inItem        bool
}

// nested writes a map or a list below a key or, inItem, behind a dash.
func (w *yamlWriter) nested(v, peer any, indent int, inItem bool) {
	if w.blocks == nil || w.within || !identical(v, peer) {
		w.lower(v, peer, indent, inItem)
		return
	}
	id, at := reflect.ValueOf(v).Pointer(), place{indent, w.depth, inItem}
	if w.written != "" {
		if b, ok := w.blocks[id]; ok && b.at == at {
			w.WriteString(w.written[b.begin:b.end])
			return
		}
		w.lower(v, peer, indent, inItem)
		return
	}
	begin := w.Len()
	w.within = true
	w.lower(v, peer, indent, inItem)
	w.within = false
	w.blocks[id] = block{begin: begin, end: w.Len(), at: at}
}
