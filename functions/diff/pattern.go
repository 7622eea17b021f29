package diff

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// pattern selects values by their path, each with all below it. It is written
// as paths are shown: spec.template.spec.containers[app].image. A star stands
// for any characters of one element, an element ** for any number of elements,
// [*] for every item. Keys with dots may go without quotes:
// metadata.annotations.example.com/owner.
type pattern struct {
	text     string
	elements []glob
}

// glob is one element of a pattern.
type glob struct {
	text  string
	deep  bool // **
	item  bool // it stood in brackets without quotes: an item, or a key
	whole bool // it stood in quotes: no part of a key with dots
}

var errPattern = errors.New("want a path such as spec.template.spec.containers[*].image")

// parsePattern reads a pattern. The error does not repeat it.
func parsePattern(text string) (pattern, error) {
	p := pattern{text: text}
	rest := strings.TrimPrefix(text, "$")
	rest = strings.TrimPrefix(rest, ".")
	for rest != "" {
		var g glob
		var err error
		if rest[0] == '[' {
			g, rest, err = bracket(rest[1:])
		} else {
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			g.text, rest = rest[:end], rest[end:]
			g.deep = g.text == "**"
		}
		if err != nil || g.text == "" && !g.item {
			return p, errPattern
		}
		p.elements = append(p.elements, g)
		if after, ok := strings.CutPrefix(rest, "."); ok {
			if rest = after; rest == "" {
				return p, errPattern
			}
		}
	}
	if n := len(p.elements); n == 0 || p.elements[n-1].deep || p.deeps() > 1 {
		return p, errPattern
	}
	return p, nil
}

// deeps counts the elements **: with several the search would grow with the
// depth's power.
func (p pattern) deeps() (n int) {
	for _, g := range p.elements {
		if g.deep {
			n++
		}
	}
	return n
}

// bracket reads what stands between brackets, in quotes or not.
func bracket(s string) (g glob, rest string, err error) {
	if s == "" {
		return g, "", errPattern
	}
	if q := s[0]; q == '"' || q == '\'' {
		key, rest, ok := strings.Cut(s[1:], string(q)+"]")
		if !ok || key == "" {
			return g, "", errPattern
		}
		return glob{text: key, whole: true}, rest, nil
	}
	key, rest, ok := strings.Cut(s, "]")
	if !ok || key == "" {
		return g, "", errPattern
	}
	return glob{text: key, item: true}, rest, nil
}

// parsePatterns reads the list of a setting; name is for the error.
func parsePatterns(name string, texts []string) ([]pattern, error) {
	var all []pattern
	for _, text := range texts {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		p, err := parsePattern(text)
		if err != nil {
			return nil, fmt.Errorf("%s: bad path %s: %w", name, strconv.Quote(clipEnd(text, maxShown)), err)
		}
		all = append(all, p)
	}
	return all, nil
}

// matches tells whether text is the glob's: a star stands for any characters.
func (g glob) matches(text string) bool {
	first, rest, ok := strings.Cut(g.text, "*")
	if !ok {
		return g.text == text
	}
	text, found := strings.CutPrefix(text, first)
	for found {
		part, more, ok := strings.Cut(rest, "*")
		if !ok {
			return strings.HasSuffix(text, part)
		}
		var i int
		if i = strings.Index(text, part); i < 0 {
			return false
		}
		text, rest = text[i+len(part):], more
	}
	return false
}

// itemMatches tells whether an element selects an item of a list: by its index,
// a scalar by itself, a map by a member that items are known by.
func (g glob) itemMatches(index int, item any) bool {
	if g.matches(strconv.Itoa(index)) {
		return true
	}
	m, ok := item.(map[string]any)
	if !ok {
		text, ok := scalarText(item)
		return ok && g.matches(text)
	}
	for _, key := range selectors {
		if text, ok := scalarText(m[key]); ok && g.matches(text) {
			return true
		}
	}
	return false
}

// selectors are the members by which a pattern may name an item.
var selectors = []string{"name", "key", "id", "type", "host", "path", "mountPath", "containerPort", "port", "ip", "devicePath", "topologyKey"}

// scalarText is a scalar as text.
func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case fmt.Stringer: // json.Number
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}
