package object

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// AppendBinary appends the object as it is kept on disk: its header, each
// string behind its length, and then to the end what is packed.
func (o *Object) AppendBinary(b []byte) ([]byte, error) {
	for _, s := range []string{o.Namespace, o.Name, o.UID, o.ResourceVersion} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendVarint(b, o.Created)
	return append(b, o.packed...), nil
}

var errShort = errors.New("object: the record is cut short")

// Header reads an object without what is packed, which is enough to tell one
// version from another. It keeps nothing of b.
func Header(b []byte) (*Object, error) {
	o, _, err := read(b)
	return o, err
}

// Parse reads what AppendBinary wrote. It keeps nothing of b.
func Parse(b []byte) (*Object, error) {
	o, packed, err := read(b)
	if err == nil {
		o.packed = bytes.Clone(packed)
	}
	return o, err
}

func read(b []byte) (o *Object, rest []byte, err error) {
	var part [4][]byte
	for i := range part {
		n, width := binary.Uvarint(b)
		if width <= 0 || n > uint64(len(b)-width) { //nolint:gosec // width is at most len(b)
			return nil, nil, errShort
		}
		b = b[width:]
		part[i], b = b[:n], b[n:]
	}
	created, width := binary.Varint(b)
	if width <= 0 {
		return nil, nil, errShort
	}
	return newObject(part[0], part[1], part[2], part[3], created), b[width:], nil
}

// Whole tells whether the object holds its manifest; one that Header read, and
// so one that a relist found unchanged, does not.
func (o *Object) Whole() bool { return o.packed != nil }
