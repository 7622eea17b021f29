package event

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
)

// MarshalJSON writes the known members and those of Extra.
func (c Change) MarshalJSON() ([]byte, error) { return c.encode() }

// encode is the change as JSON, in one buffer. The manifests, which are nearly
// all of it, are JSON already: they are checked and copied, once.
func (c *Change) encode() ([]byte, error) {
	w := newWriter(c.size())
	w.string(`{"action":`, string(c.Action))
	w.optional(`,"object":`, c.Object)
	w.optional(`,"oldObject":`, c.OldObject)
	if len(c.ChangedBy) == 0 {
		w.text(`,"changedBy":[]`)
	} else {
		w.value(`,"changedBy":`, c.ChangedBy)
	}
	if c.Diff != nil {
		c.Diff.write(w)
	}
	if c.Payload != nil {
		c.Payload.write(w)
	}
	if len(c.Extra) > 0 {
		c.writeExtra(w)
	}
	w.text("}")
	return w.Bytes(), w.err
}

// size is how many bytes the change takes, seldom less.
func (c *Change) size() int {
	const names, manager, change = 256, 160, 256 // a usual one of each
	n := names + len(c.Object) + len(c.OldObject) + manager*len(c.ChangedBy)
	if c.Diff != nil {
		n += len(c.Diff.Summary) + change*len(c.Diff.Changes) + len(c.Diff.Patch)
	}
	if c.Payload != nil {
		n += len(c.Payload.ContentType) + len(c.Payload.Data) + 4*len(c.Payload.DataBase64)/3
	}
	for name, value := range c.Extra {
		n += len(name) + len(value)
	}
	return n
}

func (d *Diff) write(w *writer) {
	w.string(`,"diff":{"summary":`, d.Summary)
	w.value(`,"changes":`, d.Changes)
	if d.Omitted != 0 {
		w.text(`,"omitted":` + strconv.Itoa(d.Omitted))
	}
	w.optional(`,"patch":`, d.Patch)
	w.text("}")
}

func (p *Payload) write(w *writer) {
	w.string(`,"payload":{"contentType":`, p.ContentType)
	w.optional(`,"data":`, p.Data)
	if len(p.DataBase64) > 0 {
		w.value(`,"dataBase64":`, p.DataBase64)
	}
	w.text("}")
}

func (c *Change) writeExtra(w *writer) {
	names := make([]string, 0, len(c.Extra))
	for name := range c.Extra {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w.string(",", name)
		if value := c.Extra[name]; value == nil {
			w.text(":null")
		} else {
			w.raw(":", value)
		}
	}
}

// writer writes JSON without HTML escapes, which only make diffs longer. It
// keeps the first error; what comes after that is of no use.
type writer struct {
	bytes.Buffer
	enc *json.Encoder
	err error
}

func newWriter(size int) *writer {
	w := &writer{}
	w.Grow(size)
	return w
}

// text writes JSON as it is.
func (w *writer) text(s string) { w.WriteString(s) }

// optional is raw for a value that may be missing, and then its name is too.
func (w *writer) optional(name string, value json.RawMessage) {
	if len(value) > 0 {
		w.raw(name, value)
	}
}

// raw writes a name and a value that is JSON already.
func (w *writer) raw(name string, value json.RawMessage) {
	if isCompact(value) {
		w.WriteString(name)
		w.Write(value)
		return
	}
	w.value(name, value) // leaves out white space, or says what is wrong
}

// string writes a name and a string.
func (w *writer) string(name, value string) {
	for i := range len(value) {
		if c := value[i]; c < 0x20 || c >= 0x80 || c == '"' || c == '\\' {
			w.value(name, value)
			return
		}
	}
	w.WriteString(name)
	w.WriteByte('"')
	w.WriteString(value)
	w.WriteByte('"')
}

// value writes a name and anything that encoding/json can encode.
func (w *writer) value(name string, value any) {
	w.WriteString(name)
	if w.err != nil {
		return
	}
	if w.enc == nil {
		w.enc = json.NewEncoder(&w.Buffer)
		w.enc.SetEscapeHTML(false)
	}
	if w.err = w.enc.Encode(value); w.err == nil {
		w.Truncate(w.Len() - 1) // the line break that Encode adds
	}
}

// marshal is json.Marshal without HTML escapes.
func marshal(v any) ([]byte, error) {
	w := newWriter(0)
	w.value("", v)
	return w.Bytes(), w.err
}
