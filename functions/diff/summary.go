package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Lengths in the summary, in runes.
const (
	maxShown    = 60  // a value
	maxSubject  = 160 // what has changed; its end says more than its beginning
	maxSummary  = 300 // the line, but for its last phrase
	shownBefore = 12  // what of a common prefix stays before the difference
)

// maxPhrases is how many changes, or groups of them, the summary tells.
const maxPhrases = 4

// phrase is one change in words, or several of a kind.
type phrase struct {
	key   string // the same for what is told together
	rank  int
	notes []note
}

// summary tells the changes that matter most and counts the others, in one line
// without control characters: image of app 1.4 → 1.5, replicas 3 → 5, +2 env.
func (c *comparison) summary() string {
	var all []*phrase
	byKey := map[string]*phrase{}
	notes := spread(c.notes)
	total := c.total + len(notes) - len(c.notes)
	for _, n := range notes {
		key := n.group()
		if p := byKey[key]; p != nil {
			p.notes = append(p.notes, n)
			continue
		}
		p := &phrase{key: key, rank: n.rank(), notes: []note{n}}
		all = append(all, p)
		if key != "" {
			byKey[key] = p
		}
	}
	slices.SortStableFunc(all, func(a, b *phrase) int { return cmp.Compare(a.rank, b.rank) })
	var parts []string
	told, length := 0, 0
	for _, p := range all {
		if len(parts) == maxPhrases || length > maxSummary {
			break
		}
		text := p.text()
		parts = append(parts, text)
		told += len(p.notes)
		length += utf8.RuneCountInString(text)
	}
	line := strings.Join(parts, ", ")
	if rest := total - told; rest > 0 {
		line += fmt.Sprintf(", +%d more", rest)
	}
	return line
}

// bags are the maps of which people think as of lists, with the word for one
// member; members that come or go are told together.
var bags = map[string]string{
	"labels": "label", "annotations": "annotation", "data": "", "stringData": "", "binaryData": "",
	"matchLabels": "selector", "selector": "selector", "nodeSelector": "nodeSelector", "limits": "limit of", "requests": "request of", "hard": "quota of",
}

// spread makes a change of each member of what came or went as a whole, where
// people think of the members: the first label of an object is a label. An item
// that has nothing but its value is known by that.
func spread(notes []note) []note {
	var out []note
	going := slices.ContainsFunc(notes, func(n note) bool { return n.deletion() })
	for _, n := range notes {
		if going && n.at.String() == "metadata.deletionGracePeriodSeconds" {
			continue
		}
		if n.op != opAdd && n.op != opRemove {
			out = append(out, n)
			continue
		}
		v := n.to
		if n.op == opRemove {
			v = n.from
		}
		members := n.members(v)
		if len(members) == 0 || len(out)+len(members) > 2*maxNotes {
			out = append(out, n)
			continue
		}
		out = append(out, members...)
	}
	return out
}

// members are the changes of a value's members, if those are what people name.
func (n *note) members(v any) (all []note) {
	member := func(at path, v any) {
		m := note{at: at, op: n.op, from: v}
		if n.op == opAdd {
			m.from, m.to = nil, v
		}
		all = append(all, m)
	}
	last := n.at[len(n.at)-1]
	key, isKey := last.(string)
	switch v := v.(type) {
	case map[string]any:
		if _, ok := bags[key]; ok && isKey {
			for _, k := range sortedKeys(v) {
				member(append(slices.Clone(n.at), k), v[k])
			}
		}
	case []any:
		if !isKey {
			return nil
		}
		for _, item := range v {
			l, ok := plainLabel(item)
			if !ok {
				return nil
			}
			member(append(slices.Clone(n.at), l), item)
		}
	case string:
		if _, ok := last.(int); ok {
			if l, ok := plainLabel(v); ok {
				member(append(slices.Clone(n.at[:len(n.at)-1]), l), v)
			}
		}
	}
	return all
}

// plainLabel is what an item is known by without looking at its list: its name,
// or its short text.
func plainLabel(item any) (label, bool) {
	if m, ok := item.(map[string]any); ok {
		for _, key := range []string{"name", "key", "type", "host"} {
			if item, ok = m[key]; ok {
				break
			}
		}
	}
	s, ok := item.(string)
	return label(s), ok && clear(s) && utf8.RuneCountInString(s) <= maxShown
}

// group is the same for changes that are told together; empty for one that
// stands alone.
func (n *note) group() string {
	last := n.at[len(n.at)-1]
	if _, ok := last.(line); ok {
		return "lines " + n.at[:len(n.at)-1].String()
	}
	if n.op != opAdd && n.op != opRemove || len(n.at) < 2 || n.deletion() {
		return ""
	}
	above, _ := n.at[len(n.at)-2].(string)
	if _, isKey := last.(string); !isKey {
		return n.op + " " + above
	}
	if _, ok := bags[above]; ok {
		return n.op + " " + above
	}
	return ""
}

// deletion tells whether somebody has asked to delete the object, which
// finalizers delay.
func (n *note) deletion() bool {
	return len(n.at) == 2 && n.at[0] == "metadata" && n.at[1] == "deletionTimestamp" && n.op == opAdd
}

// restarted is what kubectl rollout restart writes.
const restarted = "kubectl.kubernetes.io/restartedAt"

// rank orders the changes: what runs before how much of it before the rest,
// what has another value before what came or went.
func (n *note) rank() int {
	last := n.at[len(n.at)-1]
	switch {
	case n.deletion():
		return 0
	case last == "image", last == restarted:
		return 1
	case last == "replicas" && len(n.at) == 2:
		return 2
	case slices.Contains(n.at, any("annotations")):
		return 7
	case slices.Contains(n.at, any("labels")):
		return 5
	case n.at[0] == "metadata":
		return 6
	case n.op == opReplace:
		return 3
	}
	return 4
}

func (p *phrase) text() string {
	n := &p.notes[0]
	if _, ok := n.at[len(n.at)-1].(line); ok {
		return p.lines()
	}
	if len(p.notes) > 1 {
		word, _ := n.at[len(n.at)-2].(string)
		switch word {
		case "data", "stringData", "binaryData":
			word = "keys"
		case "limits", "requests", "hard", "selector", "matchLabels", "nodeSelector":
		default:
			word = printable(clipEnd(word, maxShown))
		}
		return fmt.Sprintf("%s%d %s", sign(n.op), len(p.notes), cmp.Or(word, "items"))
	}
	switch {
	case n.deletion():
		return "deletion requested"
	case n.at[len(n.at)-1] == restarted && n.op != opRemove:
		return "restart requested"
	case n.op == opAdd:
		return "+" + n.inWords(n.detail(n.to))
	case n.op == opRemove:
		return "-" + n.inWords(n.detail(n.from))
	case n.op == opReorder:
		return "order of " + n.inWords("") + " changed"
	}
	return n.inWords("") + " " + n.fromTo()
}

// inWords is the subject on one line.
func (n *note) inWords(detail string) string {
	return printable(clipStart(n.subject(detail), maxSubject))
}

func sign(op string) string {
	if op == opAdd {
		return "+"
	}
	return "-"
}

// lines tells how many lines of a text have changed; one by its content.
func (p *phrase) lines() string {
	n := &p.notes[0]
	file := note{at: n.at[:len(n.at)-1]}
	subject := file.inWords("")
	added, removed := 0, 0
	for _, n := range p.notes {
		added += countLines(n.to)
		removed += countLines(n.from)
	}
	if len(p.notes) == 1 && added == 1 && removed == 1 {
		return subject + ": " + n.fromTo()
	}
	var parts []string
	if added > 0 {
		parts = append(parts, fmt.Sprintf("+%d", added))
	}
	if removed > 0 {
		parts = append(parts, fmt.Sprintf("-%d", removed))
	}
	unit := " lines"
	if added+removed == 1 {
		unit = " line"
	}
	return subject + " " + strings.Join(parts, " ") + unit
}

func countLines(v any) int {
	s, ok := v.(string)
	if !ok {
		return 0
	}
	return strings.Count(s, "\n") + 1
}
