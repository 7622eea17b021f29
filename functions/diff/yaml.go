package diff

import (
	"encoding/json"
	"strconv"
	"strings"
)

// maxDepth is the level below which YAML is written on one line. Indentation
// grows with the square of the depth, so a deep nest of a few kilobytes would
// become gigabytes; the deepest schemas of CRDs stay above it.
const maxDepth = 40

// renderYAML writes a manifest as YAML the way kubectl does: sorted keys,
// lists not indented. Two manifests give the same text only if they are equal;
// of long base64 it is the hash that tells.
// Numbers keep their digits, and no control character but the line break gets
// through. peer is the manifest that it will be compared with; a string is
// written in the same style on both sides, so that only its lines differ.
//
// It is written here because a general encoder takes three times as long as
// all the rest and has no way to write an odd string line by line.
func renderYAML(manifest, peer map[string]any) string {
	var w yamlWriter
	w.manifest(manifest, peer)
	return w.String()
}

type yamlWriter struct {
	strings.Builder
	depth int
	keys  keyStack
	// blocks are the largest maps and lists that the manifest shares with its
	// peer. They are collected, or copied from written if that is not empty.
	blocks  map[uintptr]block
	written string
	within  bool // a block that is written
}

func (w *yamlWriter) manifest(m, peer map[string]any) {
	if len(m) == 0 {
		w.WriteString("{}\n")
		return
	}
	w.mapping(m, peer, 0, false)
}

// mapping writes the lines of a map that is not empty. inline tells that its
// first line has been begun, by the dash of a list.
func (w *yamlWriter) mapping(m map[string]any, peer any, indent int, inline bool) {
	other, _ := peer.(map[string]any)
	first := w.keys.push(m)
	for i := range len(m) {
		key := w.keys[first+i]
		if !inline {
			w.indent(indent)
		}
		inline = false
		w.WriteString(scalar(key))
		w.WriteByte(':')
		if value := m[key]; w.nests(value) {
			w.WriteByte('\n')
			w.nested(value, other[key], indent, false)
		} else {
			w.WriteByte(' ')
			w.leaf(value, other[key], indent)
		}
	}
	w.keys = w.keys[:first]
}

// list writes the lines of a list that is not empty.
func (w *yamlWriter) list(l []any, peer any, indent int, inline bool) {
	other, _ := peer.([]any)
	for i, value := range l {
		if !inline {
			w.indent(indent)
		}
		inline = false
		w.WriteString("- ")
		var same any
		if i < len(other) {
			same = other[i]
		}
		if w.nests(value) {
			w.nested(value, same, indent, true)
		} else {
			w.leaf(value, same, indent)
		}
	}
}

// nests tells whether a value takes lines of its own.
func (w *yamlWriter) nests(v any) bool {
	if w.depth >= maxDepth {
		return false
	}
	switch v := v.(type) {
	case map[string]any:
		return len(v) > 0
	case []any:
		return len(v) > 0
	}
	return false
}

// lower writes the lines of nested, one level further down. A list stands at
// the column of its key, everything else two columns further.
func (w *yamlWriter) lower(v, peer any, indent int, inItem bool) {
	w.depth++
	defer func() { w.depth-- }()
	switch v := v.(type) {
	case map[string]any:
		w.mapping(v, peer, indent+2, inItem)
	case []any:
		if inItem {
			indent += 2
		}
		w.list(v, peer, indent, inItem)
	}
}

// leaf ends the line with a value that does not nest.
func (w *yamlWriter) leaf(v, peer any, indent int) {
	if s, ok := v.(string); ok && isLines(s) {
		w.lines(s, peer, indent+2)
		return
	}
	w.flow(readable(v))
	w.WriteByte('\n')
}

// flow writes a value on one line. Inside brackets every string is quoted.
func (w *yamlWriter) flow(v any) {
	switch v := v.(type) {
	case nil:
		w.WriteString("null")
	case string:
		w.WriteString(scalar(v))
	case map[string]any:
		w.WriteByte('{')
		for i, key := range sortedKeys(v) {
			w.comma(i)
			w.WriteString(quote(key))
			w.WriteString(": ")
			w.inFlow(v[key])
		}
		w.WriteByte('}')
	case []any:
		w.WriteByte('[')
		for i, value := range v {
			w.comma(i)
			w.inFlow(value)
		}
		w.WriteByte(']')
	case json.Number:
		w.WriteString(v.String())
	case bool:
		w.WriteString(strconv.FormatBool(v))
	}
}

func (w *yamlWriter) inFlow(v any) {
	if s, ok := v.(string); ok {
		w.WriteString(quote(s))
		return
	}
	w.flow(v)
}

func (w *yamlWriter) comma(i int) {
	if i > 0 {
		w.WriteString(", ")
	}
}

func (w *yamlWriter) indent(n int) {
	const spaces = "                                                                                "
	for ; n > len(spaces); n -= len(spaces) {
		w.WriteString(spaces)
	}
	w.WriteString(spaces[:n])
}
