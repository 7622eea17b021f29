package diff

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/aymanbagabas/go-udiff/lcs"
	"go.yaml.in/yaml/v4"

	"github.com/kwatchman/kwatchman/event"
)

// maxInside is the longest text, in bytes, that is read as JSON or YAML.
const maxInside = 256 << 10

// inside compares two strings that hold a document or several lines, such as
// the files of a ConfigMap, by what is in them. It is false for any others,
// which are compared as a whole.
func (c *comparison) inside(old, new any) bool {
	o, okOld := old.(string)
	n, okNew := new.(string)
	if !okOld || !okNew || o == "" || n == "" {
		return false
	}
	was, okOld := document(o)
	is, okNew := document(n)
	if okOld && okNew {
		before, of := c.total, c.kind
		c.kind = kind{} // what the order of its lists means is not known
		_, _ = c.item(embedded{}, was, true, is, true)
		c.kind = of
		if c.total > before {
			return true
		}
	}
	if !isLines(o) || !isLines(n) {
		return false
	}
	c.lines(o, n)
	return true
}

// document reads a string that holds JSON or, on several lines, YAML: an object
// or a list. Several YAML documents are a list.
func document(s string) (any, bool) {
	if len(s) > maxInside {
		return nil, false
	}
	if t := strings.TrimSpace(s); t != "" && (t[0] == '{' || t[0] == '[') {
		if v, ok := jsonDocument(t); ok {
			return v, true
		}
	}
	if !isLines(s) || !strings.ContainsAny(s, ":-") {
		return nil, false
	}
	return yamlDocument(s)
}

func jsonDocument(s string) (any, bool) {
	if s[0] == '{' {
		m, err := event.DecodeManifest([]byte(s))
		return m, err == nil
	}
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var l []any
	if dec.Decode(&l) != nil || dec.More() {
		return nil, false
	}
	return l, true
}

func yamlDocument(s string) (any, bool) {
	dec := yaml.NewDecoder(bytes.NewReader([]byte(s)))
	r := yamlReader{room: maxNodes}
	var all []any
	for {
		var node yaml.Node
		err := dec.Decode(&node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(all) > maxNodes {
			return nil, false
		}
		all = append(all, r.value(&node))
		if r.failed {
			return nil, false
		}
	}
	if len(all) == 0 {
		return nil, false
	}
	if len(all) > 1 {
		return all, true
	}
	switch all[0].(type) {
	case map[string]any, []any:
		return all[0], true
	}
	return nil, false // text that happens to be YAML
}

// maxNodes bounds a document with what its aliases repeat.
const maxNodes = 64 << 10

// yamlReader turns YAML into decoded JSON; what JSON cannot hold fails.
type yamlReader struct {
	room   int
	depth  int
	failed bool
}

func (r *yamlReader) value(n *yaml.Node) any {
	r.depth++
	defer func() { r.depth-- }()
	if r.room--; r.room < 0 || r.depth > maxDepth {
		r.failed = true
	}
	if r.failed {
		return nil
	}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 1 {
			return r.value(n.Content[0])
		}
	case yaml.AliasNode:
		return r.value(n.Alias)
	case yaml.SequenceNode:
		l := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			l = append(l, r.value(item))
		}
		return l
	case yaml.MappingNode:
		return r.mapping(n)
	case yaml.ScalarNode:
		return scalarOf(n)
	}
	r.failed = true
	return nil
}

func (r *yamlReader) mapping(n *yaml.Node) any {
	m := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if _, twice := m[key.Value]; twice || key.Kind != yaml.ScalarNode {
			r.failed = true
			return nil
		}
		m[key.Value] = r.value(n.Content[i+1])
	}
	return m
}

// scalarOf keeps numbers as they are written.
func scalarOf(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
	}
	return n.Value
}

// lines compares two texts line by line: each run of lines that changed is one
// change.
func (c *comparison) lines(old, new string) {
	o, n := strings.Split(old, "\n"), strings.Split(new, "\n")
	for _, e := range lcs.DiffLines(o, n) {
		was, is := any(nil), any(nil)
		inOld, inNew := e.End > e.Start, e.ReplEnd > e.ReplStart
		at := e.ReplStart
		if inOld {
			was = strings.Join(o[e.Start:e.End], "\n")
		}
		if inNew {
			is = strings.Join(n[e.ReplStart:e.ReplEnd], "\n")
		} else {
			at = e.Start
		}
		c.at = append(c.at, line(at+1))
		switch {
		case !inOld:
			c.record(opAdd, nil, is)
		case !inNew:
			c.record(opRemove, was, nil)
		default:
			c.record(opReplace, was, is)
		}
		c.at = c.at[:len(c.at)-1]
	}
}
