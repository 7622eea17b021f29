package object

import (
	"bytes"
	"fmt"
)

// Renew gives an object as these rules would have packed it, and without a
// vocabulary: its text may have been learned under others. It reads only what
// is packed.
func (r *Redactor) Renew(zip *Compressor, o *Object) (*Object, error) {
	manifest, managers, err := o.Unpack(zip)
	if err != nil {
		return nil, err
	}
	d := &desk{scanner: newScanner()}
	if manifest, err = r.renew(d, manifest); err != nil {
		return nil, fmt.Errorf("redact %s: %w", o.Key(), safe(err))
	}
	out := *o
	out.fresh = nil
	out.packed = zip.Compress(bytes.Join([][]byte{managers, manifest}, []byte("\n")))
	return &out, nil
}

// renew redacts a manifest that was packed before.
func (r *Redactor) renew(d *desk, manifest []byte) ([]byte, error) {
	top, ok, err := d.members(nil, manifest)
	if err != nil || !ok {
		return manifest, err
	}
	var group, kind string
	for _, m := range top {
		switch string(m.name) {
		case "apiVersion":
			group = string(m.value)
		case "kind":
			kind = string(m.value)
		case "metadata":
			if d.metadata, _, err = d.members(nil, m.value); err != nil {
				return nil, err
			}
			continue
		}
		d.top = append(d.top, m)
	}
	// The values of a Secret are hashed already; again would change them.
	secret := group == `"v1"` && kind == `"Secret"`
	r.walk(d, secret)
	d.top = append(d.top, member{[]byte(`"metadata"`), []byte("metadata"), appendMembers(nil, d.metadata)})
	return appendMembers(nil, sortMembers(d.top)), nil
}
