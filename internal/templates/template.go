// Package templates holds the Go templates that settings are: over an event,
// with empty text where a field is missing.
package templates

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template/parse"

	template "github.com/DataDog/datadog-agent/pkg/template/text"

	"github.com/kwatchman/kwatchman/internal/suggest"
)

// maxOutput bounds in bytes what a template may write.
const maxOutput = 256 << 10

// A Template is a Go template over Data with two differences: a field that an
// object does not have is empty at any depth, where text/template fails or writes
// "<no value>"; and what comes from the event goes through a function on its way
// out, so that only the template's own text can mean something there.
type Template struct {
	variable string // the setting it comes from, for errors
	t        *template.Template
	object   bool // it looks at a manifest
}

// Options are what a template has besides the functions of this package.
type Options struct {
	Functions template.FuncMap
	// Output is the function that what an action gives goes through; empty: the
	// text as it is.
	Output string
	// Fields are names in Data besides the event's.
	Fields []string
}

// New reads a template from the setting called variable. Empty text is no
// template: nil. A function, a field of the event and a syntax that do not exist
// are errors of one line.
func New(variable, text string, o Options) (*Template, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	t, err := template.New(variable).Funcs(o.Functions).Funcs(functions).Parse(text)
	if err != nil {
		return nil, templateError(variable, err)
	}
	fields := append(slices.Collect(maps.Keys(NewData(nil, ""))), o.Fields...)
	for _, named := range t.Templates() {
		if named.Tree == nil || named.Root == nil {
			continue
		}
		r := rewriter{output: cmp.Or(o.Output, "plain"), known: named == t, fields: fields}
		r.list(named.Root, named == t)
		if r.unknown != "" {
			return nil, fmt.Errorf("%s: unknown field %s%s", variable, suggest.Word(r.unknown),
				suggest.Hint(r.unknown, slices.Sorted(slices.Values(fields))))
		}
	}
	return &Template{variable: variable, t: t, object: strings.Contains(text, "bject") || strings.Contains(text, "{{.}}")}, nil
}

// Text executes the template.
func (t *Template) Text(d Data) (string, error) {
	if t.object {
		if err := d.decodeObjects(); err != nil {
			return "", fmt.Errorf("%s: %w", t.variable, err)
		}
	}
	out := limitedBuffer{left: maxOutput}
	if err := t.t.Execute(&out, map[string]any(d)); err != nil {
		return "", templateError(t.variable, err)
	}
	return strings.ToValidUTF8(out.String(), "\uFFFD"), nil
}

// templateError is one line without what text/template puts in front, which
// repeats the name. A template holds no secret.
func templateError(variable string, err error) error {
	text := strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "template: ")), " ")
	return errors.New(variable + ": bad template: " + strings.TrimPrefix(text, variable+":"))
}

type limitedBuffer struct {
	bytes.Buffer
	left int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, fmt.Errorf("more than %d bytes", maxOutput)
	}
	return b.Buffer.Write(p)
}

// rewriter turns every field of a template, .Object.metadata.name, into a call
// of the function get, which knows no missing fields, and sends what is written
// through the function that output names.
type rewriter struct {
	output  string
	known   bool // $ is the event
	fields  []string
	unknown string
}

// list rewrites the nodes of a list. root tells whether the dot is the event.
func (r *rewriter) list(l *parse.ListNode, root bool) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			r.pipe(n.Pipe, root)
			if len(n.Pipe.Decl) == 0 {
				n.Pipe.Cmds = append(n.Pipe.Cmds, call(r.output))
			}
		case *parse.IfNode:
			r.branch(&n.BranchNode, root, root)
		case *parse.RangeNode:
			r.branch(&n.BranchNode, root, false)
			n.Pipe.Cmds = append(n.Pipe.Cmds, call("items"))
		case *parse.WithNode:
			r.branch(&n.BranchNode, root, false)
		case *parse.TemplateNode:
			r.pipe(n.Pipe, root)
		}
	}
}

func (r *rewriter) branch(n *parse.BranchNode, root, inside bool) {
	r.pipe(n.Pipe, root)
	r.list(n.List, inside)
	r.list(n.ElseList, root)
}

func (r *rewriter) pipe(p *parse.PipeNode, root bool) {
	if p == nil {
		return
	}
	for _, c := range p.Cmds {
		if get := r.field(c.Args[0], root); get != nil && len(c.Args) == 1 {
			c.Args = get.Args
			continue
		}
		for i, a := range c.Args {
			switch get := r.field(a, root); {
			case i == 0 && get != nil: // a method with arguments, such as .Time.Format
				if last := len(get.Args) - 1; last > 1 {
					of := &parse.PipeNode{NodeType: parse.NodePipe, Pos: a.Position(), Cmds: []*parse.CommandNode{{
						NodeType: parse.NodeCommand, Args: get.Args[:last],
					}}}
					c.Args = slices.Insert(c.Args, 1, parse.Node(of), get.Args[last])
					c.Args[0] = parse.NewIdentifier("called")
				}
			case get != nil:
				c.Args[i] = &parse.PipeNode{NodeType: parse.NodePipe, Pos: a.Position(), Cmds: []*parse.CommandNode{get}}
			default:
				if inner, ok := a.(*parse.PipeNode); ok {
					r.pipe(inner, root)
				}
			}
		}
	}
}

// field is the call that reads the field that n names, nil if it names none.
func (r *rewriter) field(n parse.Node, root bool) *parse.CommandNode {
	var from parse.Node
	var names []string
	switch n := n.(type) {
	case *parse.FieldNode:
		from, names = &parse.DotNode{NodeType: parse.NodeDot, Pos: n.Pos}, n.Ident
		r.check(root, names)
	case *parse.VariableNode:
		if len(n.Ident) == 1 {
			return nil
		}
		from, names = &parse.VariableNode{NodeType: parse.NodeVariable, Pos: n.Pos, Ident: n.Ident[:1]}, n.Ident[1:]
		r.check(r.known && n.Ident[0] == "$", names)
	case *parse.ChainNode:
		from, names = n.Node, n.Field
		if inner, ok := from.(*parse.PipeNode); ok {
			r.pipe(inner, root)
		}
	default:
		return nil
	}
	c := call("get")
	c.Args = append(c.Args, from)
	for _, name := range names {
		c.Args = append(c.Args, &parse.StringNode{NodeType: parse.NodeString, Pos: n.Position(), Quoted: fmt.Sprintf("%q", name), Text: name})
	}
	return c
}

// check notes the first field that the event does not have.
func (r *rewriter) check(root bool, names []string) {
	if root && !slices.Contains(r.fields, names[0]) && r.unknown == "" {
		r.unknown = names[0]
	}
}

func call(function string) *parse.CommandNode {
	return &parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{parse.NewIdentifier(function)}}
}
