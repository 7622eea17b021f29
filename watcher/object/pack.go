package object

import (
	"errors"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Packer packs the objects of one resource. It may be used by several
// goroutines.
type Packer struct {
	// Settled, if not nil, tells that nobody will ask who changed an object, so
	// that what only that needs is not kept. It is set before the first Pack.
	Settled func(*Object) bool

	apiVersion, kind []byte // as JSON
	secret           bool
	redact           *Redactor
	words            *Vocabulary
	desks            sync.Pool
}

// NewPacker packs objects of a kind; gvk is filled in where a list's items do
// not name it.
func NewPacker(gvk schema.GroupVersionKind, redact *Redactor, words *Vocabulary) *Packer {
	apiVersion, kind := gvk.ToAPIVersionAndKind()
	return &Packer{
		apiVersion: quote(apiVersion), kind: quote(kind), redact: redact, words: words,
		secret: gvk.Group == "" && gvk.Kind == "Secret",
		desks:  sync.Pool{New: func() any { return &desk{scanner: newScanner()} }},
	}
}

// desk is what packing one manifest needs for a moment.
type desk struct {
	*scanner
	top, metadata, parts []member
	fields               []byte // metadata.managedFields
	managers             []byte // its entries without what they own
	written              []byte // metadata as it stays
	out                  []byte // what is compressed
	meta                 meta
	walker               walker
	known                bool // an object was seen under its name
}

// muchDesk is how much of a large manifest a desk keeps room for.
const muchDesk = 256 << 10

// forget lets go of the manifest as it came, and of room for a large one.
func (d *desk) forget() {
	d.reset(nil)
	d.fields, d.meta = nil, meta{}
	d.walker.forget()
	for _, m := range []*[]member{&d.top, &d.metadata, &d.parts} {
		clear((*m)[:cap(*m)])
	}
	for _, b := range []*[]byte{&d.managers, &d.written, &d.out} {
		if cap(*b) > muchDesk {
			*b = nil
		}
	}
}

// meta is what has to be known of a manifest before it is packed.
type meta struct {
	namespace, name, uid, resourceVersion []byte
	created                               int64
}

// Pack cleans, redacts and compresses a manifest. known, if not nil, is asked
// for the object seen last under the same key; when that has the same version
// it is returned as it is, before the rest is read, which makes a relist cheap.
// Errors never hold a part of the manifest.
func (p *Packer) Pack(raw []byte, known func(key string) *Object) (*Object, error) {
	d := p.desks.Get().(*desk)
	defer p.desks.Put(d)
	defer d.forget()
	last, err := d.read(raw, known)
	if err != nil || last != nil {
		return last, err
	}
	err = d.clean()
	if err == nil {
		err = p.redact.desk(d, p.secret)
	}
	if err != nil {
		return nil, fmt.Errorf("decode manifest: %w", safe(err))
	}
	p.complete(d)
	d.out = append(append(d.out[:0], d.managers...), '\n')
	start := len(d.out)
	d.out = appendMembers(d.out, sortMembers(d.top))
	m := &d.meta
	o := newObject(m.namespace, m.name, m.uid, m.resourceVersion, m.created)
	if o.packed, err = p.words.compress(d.out, d.out[start:], !d.known); err != nil {
		return nil, err
	}
	if p.Settled == nil || !p.Settled(o) {
		o.fresh = newFresh(d.out[start:], d.fields)
	}
	return o, nil
}

// read takes the manifest apart; it may end early with the object that is
// known.
func (d *desk) read(raw []byte, known func(string) *Object) (*Object, error) {
	d.reset(raw)
	d.top, d.metadata = d.top[:0], d.metadata[:0]
	d.fields, d.managers, d.meta, d.known = nil, append(d.managers[:0], "[]"...), meta{}, false
	if d.next() != '{' {
		_, err := d.value()
		return nil, fmt.Errorf("decode manifest: %w", safe(err))
	}
	if err := d.token(); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", safe(err))
	}
	for {
		quoted, name, more, err := d.name()
		if err != nil {
			return nil, fmt.Errorf("decode manifest: %w", safe(err))
		}
		if !more {
			break
		}
		if string(name) == "metadata" {
			if err := d.readMetadata(); err != nil {
				return nil, fmt.Errorf("decode metadata: %w", safe(err))
			}
			if o := d.same(known); o != nil {
				return o, nil
			}
			continue
		}
		value, err := d.value()
		if err != nil {
			return nil, fmt.Errorf("decode manifest: %w", safe(err))
		}
		d.top = append(d.top, member{quoted, name, value})
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", safe(err))
	}
	if len(d.meta.name) == 0 {
		return nil, errors.New("decode metadata: no name")
	}
	return nil, nil //nolint:nilnil // nothing is known
}

// same is the object that is known in the version that was just read.
func (d *desk) same(known func(string) *Object) *Object {
	if known == nil {
		return nil
	}
	m := &d.meta
	o := known(Key(string(m.namespace), string(m.name)))
	if d.known = o != nil; d.known && o.UID == string(m.uid) && o.ResourceVersion == string(m.resourceVersion) {
		return o
	}
	return nil
}

// complete writes metadata back, and version and kind, which the items of a
// list do not name.
func (p *Packer) complete(d *desk) {
	var hasVersion, hasKind bool
	for _, m := range d.top {
		hasVersion = hasVersion || string(m.name) == "apiVersion"
		hasKind = hasKind || string(m.name) == "kind"
	}
	add := func(name string, value []byte) {
		d.top = append(d.top, member{[]byte(`"` + name + `"`), []byte(name), value})
	}
	if !hasVersion {
		add("apiVersion", p.apiVersion)
	}
	if !hasKind {
		add("kind", p.kind)
	}
	d.written = appendMembers(d.written[:0], sortMembers(d.metadata))
	add("metadata", d.written)
}
