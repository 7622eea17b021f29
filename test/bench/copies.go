package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
)

// last is the resourceVersion after the first n events.
func (rec *recording) last(n int) string {
	if n == 0 {
		return rec.version
	}
	return rec.events[n-1].version
}

// versions are those of all events.
func (rec *recording) versions() []string {
	var out []string
	for _, e := range rec.events {
		out = append(out, e.version)
	}
	return out
}

// object is the i-th object. Beyond those that were recorded they come again,
// under other names and uids of the same length.
func (rec *recording) object(i int) []byte {
	o, copied := rec.objects[i%len(rec.objects)], i/len(rec.objects)
	if copied == 0 {
		return o.json
	}
	name := bytes.Replace([]byte(o.name), []byte("-00-"), fmt.Appendf(nil, "-%02d-", copied), 1)
	out := bytes.ReplaceAll(o.json, []byte(o.name), name)
	return bytes.ReplaceAll(out, []byte(o.uid), copyUID(o.uid, copied))
}

// copyUID is another uid for each copy.
func copyUID(uid string, copied int) []byte {
	out := []byte(uid)
	first, err := hex.DecodeString(uid[:8])
	if err != nil {
		return fmt.Appendf(out[:0], "%08x%s", copied, uid[8:])
	}
	n := binary.BigEndian.Uint32(first) ^ uint32(copied) //nolint:gosec // below maxCopies
	return fmt.Appendf(out[:0], "%08x%s", n, uid[8:])
}

// objectSize is the mean in bytes.
func (rec *recording) objectSize() int {
	n := 0
	for _, o := range rec.objects {
		n += len(o.json)
	}
	return n / max(len(rec.objects), 1)
}

// item is an object as it stands in a list, where the API server leaves out what
// the list says.
func item(object []byte) []byte {
	if rest, ok := bytes.CutPrefix(object, []byte(`{"kind":"Deployment","apiVersion":"apps/v1",`)); ok {
		return append([]byte{'{'}, rest...)
	}
	return object
}

// write writes parts until one fails.
func write(w io.Writer, parts ...[]byte) error {
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}
