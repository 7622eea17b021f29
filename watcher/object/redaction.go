package object

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/kwatchman/kwatchman/watcher/object/credential"
)

// desk redacts a manifest that was taken apart.
func (r *Redactor) desk(d *desk, secret bool) error {
	if secret {
		if err := r.secret(d); err != nil {
			return err
		}
	}
	r.walk(d, secret)
	return nil
}

// walk redacts what is no value of a Secret.
func (r *Redactor) walk(d *desk, secret bool) {
	if r.rules.Idle() {
		return
	}
	w := &d.walker
	w.redactor = r
	if !secret {
		for i := range d.top {
			m := &d.top[i]
			switch string(m.name) {
			case "apiVersion", "kind":
			default:
				m.value = w.redact(m.name, m.value)
			}
		}
	}
	for i := range d.metadata {
		m := &d.metadata[i]
		switch string(m.name) {
		case "name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "generateName", "ownerReferences":
		default:
			m.value = w.redact(m.name, m.value)
		}
	}
}

// walker goes through a JSON text where it lies and notes what is to stand in
// the place of credentials. The text has been checked: it is JSON.
type walker struct {
	redactor *Redactor
	raw      []byte
	pos      int
	edits    []edit
	spans    []credential.Span
	// names are those that had to be taken apart, which come again and again.
	names map[string]credential.Strength
}

// maxNames bounds them.
const maxNames = 512

// edit puts a text in the place of a part of the JSON.
type edit struct {
	start, end int
	text       []byte
}

// under is what is known of a value from where it stands.
type under struct {
	strength credential.Strength
	prose    bool // it is a description
}

func (w *walker) forget() {
	clear(w.edits[:cap(w.edits)])
	*w = walker{edits: w.edits[:0], spans: w.spans[:0], names: w.names}
}

// redact is a value, given under a name, without credentials: the same memory
// where there are none.
func (w *walker) redact(name, value []byte) []byte {
	w.raw, w.pos, w.edits = value, 0, w.edits[:0]
	w.value(w.under(name))
	if len(w.edits) == 0 {
		return value
	}
	slices.SortFunc(w.edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	out := make([]byte, 0, len(value)+32*len(w.edits))
	at := 0
	for _, e := range w.edits {
		out = append(append(out, value[at:e.start]...), e.text...)
		at = e.end
	}
	return append(out, value[at:]...)
}

func (w *walker) under(name []byte) under {
	return under{w.strength(name), string(name) == "description"}
}

func (w *walker) strength(name []byte) credential.Strength {
	if !w.redactor.rules.MayName(name) {
		return credential.No
	}
	s, ok := w.names[string(name)]
	if !ok {
		s = w.redactor.rules.Name(string(name))
		if w.names == nil || len(w.names) >= maxNames {
			w.names = map[string]credential.Strength{}
		}
		w.names[string(name)] = s
	}
	return s
}

// blank goes behind what separates: most often it is one byte, or none.
func (w *walker) blank() {
	for w.pos < len(w.raw) {
		if c := w.raw[w.pos]; c == '"' || c > ':' || !separates[c] {
			return
		}
		w.pos++
	}
}

var separates = [256]bool{' ': true, '\t': true, '\n': true, '\r': true, ',': true, ':': true}

// value goes behind the next value.
func (w *walker) value(u under) {
	w.blank()
	if w.pos >= len(w.raw) {
		return
	}
	switch w.raw[w.pos] {
	case '{':
		w.object(u.strength)
	case '[':
		w.list(u)
	case '"':
		start, end := w.text()
		w.judge(start, end, u)
	default:
		w.literal(u.strength)
	}
}

// text goes behind the next string and gives it with its quotes.
func (w *walker) text() (start, end int) {
	start = w.pos
	for at := start + 1; at < len(w.raw); {
		n := bytes.IndexByte(w.raw[at:], '"')
		if n < 0 {
			break
		}
		at += n
		escapes := 0
		for w.raw[at-1-escapes] == '\\' {
			escapes++
		}
		if at++; escapes%2 == 0 {
			w.pos = at
			return start, at
		}
	}
	w.pos = len(w.raw) // never in checked JSON
	return start, w.pos
}

// literal is a number, true, false or null: a number may be a password.
func (w *walker) literal(s credential.Strength) {
	start := w.pos
	for w.pos < len(w.raw) && strings.IndexByte(",]} \t\r\n", w.raw[w.pos]) < 0 {
		w.pos++
	}
	if v := w.raw[start:w.pos]; s == credential.Password && len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9') {
		w.edits = append(w.edits, edit{start, w.pos, w.redactor.hash(v)})
	}
}

// object looks at the members by their names, and at a value by the name that
// stands beside it, as in {"name": "PASSWORD", "value": "…"}.
func (w *walker) object(parent credential.Strength) {
	w.pos++
	var beside credential.Strength
	value := [2]int{-1, -1}
	own := under{}
	for {
		w.blank()
		if w.pos >= len(w.raw) || w.raw[w.pos] == '}' {
			w.pos++
			break
		}
		start, end := w.text()
		name := unquote(w.raw[start:end])
		u := w.under(name)
		if parent != credential.No && isValue(name) {
			u.strength = max(u.strength, parent)
		}
		w.blank()
		if w.pos < len(w.raw) && w.raw[w.pos] == '"' {
			switch string(name) {
			case "name", "key":
				start, end := w.text()
				beside = max(beside, w.strength(unquote(w.raw[start:end])))
				w.judge(start, end, u)
				continue
			case "value":
				value[0], value[1] = w.text()
				own = u
				continue
			}
		}
		w.value(u)
	}
	if value[0] >= 0 {
		own.strength = max(own.strength, beside)
		w.judge(value[0], value[1], own)
	}
}

// isValue tells whether a member holds the value of what is above it.
func isValue(name []byte) bool {
	switch string(name) {
	case "value", "plain", "inline":
		return true
	}
	return false
}

// list looks at each item; in a list of arguments at the one behind --password.
func (w *walker) list(u under) {
	w.pos++
	flag := credential.No
	for {
		w.blank()
		if w.pos >= len(w.raw) || w.raw[w.pos] == ']' {
			w.pos++
			return
		}
		if w.raw[w.pos] != '"' {
			w.value(u)
			flag = credential.No
			continue
		}
		start, end := w.text()
		text := w.raw[start+1 : end-1]
		item := u
		if flag != credential.No && !bytes.HasPrefix(text, []byte("-")) {
			item.strength = max(item.strength, flag)
		}
		w.judge(start, end, item)
		flag = credential.No
		if len(text) > 1 && text[0] == '-' && bytes.IndexByte(text, '=') < 0 {
			flag = w.strength(bytes.TrimLeft(text, "-"))
		}
	}
}

// judge notes what of a string goes.
func (w *walker) judge(start, end int, u under) {
	quoted := w.raw[start:end]
	if len(quoted) <= len(`""`) {
		return
	}
	if u.strength == credential.No && !w.redactor.rules.Suspicious(quoted[1:len(quoted)-1]) {
		return
	}
	text := string(unquote(quoted))
	if span, ok := credential.Value(u.strength, text); ok {
		w.replace(start, end, text, []credential.Span{span})
		return
	}
	w.spans = w.redactor.rules.Text(w.spans[:0], text, u.prose)
	if len(w.spans) > 0 {
		w.replace(start, end, text, w.spans)
	}
}

// replace writes a string anew with placeholders.
func (w *walker) replace(start, end int, text string, spans []credential.Span) {
	var b strings.Builder
	at := 0
	for _, s := range spans {
		b.WriteString(text[at:s.Start])
		b.WriteString(w.redactor.placeholder([]byte(text[s.Start:s.End])))
		at = s.End
	}
	b.WriteString(text[at:])
	w.edits = append(w.edits, edit{start, end, quote(b.String())})
}
