// Package object keeps manifests small and safe: a manifest is cleaned of what
// must not leave the watcher, redacted and compressed in one step, as it is
// decoded, and is unpacked only to compare or to send it.
package object

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kwatchman/kwatchman/event"
)

// Object is one manifest, packed. It satisfies what client-go's reflector asks
// of an object (runtime.Object and v1.ObjectMetaAccessor) and prints as its
// name only, so that no log can show a manifest.
type Object struct {
	Namespace       string
	Name            string
	UID             string
	ResourceVersion string
	Created         int64 // Unix time in seconds, 0 if the manifest has none

	key    string
	packed []byte // managers and manifest, compressed
	fresh  *fresh // of a version that has just arrived, for ChangedBy; Settle drops it
}

// fresh is what only the comparison with the version before needs.
type fresh struct {
	manifest []byte      // nil: to be unpacked
	fields   []byte      // metadata.managedFields
	zip      *Compressor // what fields are compressed with; nil: they are not
}

func newFresh(manifest, fields []byte) *fresh {
	both := make([]byte, 0, len(manifest)+len(fields))
	both = append(append(both, manifest...), fields...)
	n := len(manifest)
	return &fresh{manifest: both[:n:n], fields: both[n:]}
}

// newObject is an object without content. It keeps nothing of its arguments;
// its strings are parts of one.
func newObject(namespace, name, uid, version []byte, created int64) *Object {
	var b strings.Builder
	b.Grow(len(namespace) + 1 + len(name) + len(uid) + len(version))
	_, _ = b.Write(namespace)
	_ = b.WriteByte('/')
	for _, part := range [][]byte{name, uid, version} {
		_, _ = b.Write(part)
	}
	all := b.String()
	key := len(namespace) + 1 + len(name)
	return &Object{
		Namespace: all[:len(namespace)], Name: all[len(namespace)+1 : key],
		UID: all[key : key+len(uid)], ResourceVersion: all[key+len(uid):],
		Created: created, key: all[:key],
	}
}

// Key is the object's name within its resource.
func (o *Object) Key() string {
	if o.key == "" { // made by hand
		return Key(o.Namespace, o.Name)
	}
	return o.key
}

// Key joins a namespace, empty for a cluster-scoped object, and a name.
func Key(namespace, name string) string { return namespace + "/" + name }

// Size is the number of bytes that the object holds in memory, nearly.
func (o *Object) Size() int {
	const header = 160 // the struct itself with the headers of its strings
	return header + len(o.Namespace) + len(o.Name) + len(o.UID) + len(o.ResourceVersion) + len(o.packed)
}

// Settle drops what only the comparison with the version before needed. It has
// to be called before another goroutine knows the object; again is no harm.
func (o *Object) Settle() {
	if o.fresh != nil {
		o.fresh = nil
	}
}

// Park makes small what the comparison will need: many objects of a list may
// wait for theirs. Nobody else may know the object yet.
func (o *Object) Park(zip *Compressor) {
	if f := o.fresh; f != nil && f.zip == nil {
		o.fresh = &fresh{fields: zip.Compress(f.fields), zip: zip}
	}
}

// Format names the object and nothing of its content, whatever the verb.
func (o Object) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, o.String()) }

// String names the object.
func (o Object) String() string { return Key(o.Namespace, o.Name) }

// GetObjectKind is part of runtime.Object; the kind is known to the source.
func (o *Object) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject is part of runtime.Object. A packed object never changes.
func (o *Object) DeepCopyObject() runtime.Object { return o }

// GetObjectMeta is what the reflector reads: name and version.
func (o *Object) GetObjectMeta() v1.Object {
	return &v1.ObjectMeta{
		Namespace: o.Namespace, Name: o.Name, UID: types.UID(o.UID), ResourceVersion: o.ResourceVersion,
	}
}

// Unpack gives the manifest as JSON, and the managers of that version.
func (p *Packer) Unpack(o *Object) (manifest []byte, managers Managers, err error) {
	return o.Unpack(p.words.zip)
}

// Unpack gives the manifest as JSON, and the managers of that version.
func (o *Object) Unpack(zip *Compressor) (manifest []byte, managers Managers, err error) {
	b, err := zip.Decompress(o.packed)
	if err != nil {
		return nil, nil, fmt.Errorf("unpack %s: %w", o.Key(), err)
	}
	head, manifest, _ := bytes.Cut(b, []byte("\n"))
	return manifest, head, nil
}

// Manifest is Unpack for an object that may have just arrived.
func (o *Object) Manifest(zip *Compressor) ([]byte, error) {
	if f := o.fresh; f != nil && f.manifest != nil {
		return f.manifest, nil
	}
	manifest, _, err := o.Unpack(zip)
	return manifest, err
}

// Managers is the list of an object's field managers as JSON.
type Managers []byte

func (m Managers) read() ([]event.Manager, error) {
	var all []event.Manager
	if len(m) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(m, &all); err != nil {
		return nil, fmt.Errorf("unpack managers: %w", safe(err))
	}
	return all, nil
}
