// Package object keeps manifests small and safe: a manifest is cleaned of what
// must not leave the watcher, redacted and compressed in one step, as it is
// decoded, and is unpacked only to compare or to send it.
package object

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

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

	packed []byte // managers and manifest, compressed
	// fields is metadata.managedFields of a version that has just arrived, for
	// ChangedBy; Settle drops it.
	fields []fieldsEntry
}

// Key is the object's name within its resource.
func (o *Object) Key() string { return Key(o.Namespace, o.Name) }

// Key joins a namespace, empty for a cluster-scoped object, and a name.
func Key(namespace, name string) string { return namespace + "/" + name }

// Size is the number of bytes that the object holds in memory, nearly.
func (o *Object) Size() int {
	const header = 168 // the struct itself and the headers of its strings
	return header + len(o.Namespace) + len(o.Name) + len(o.UID) + len(o.ResourceVersion) + len(o.packed)
}

// Settle drops what only the comparison with the version before needed. It has
// to be called before another goroutine knows the object; again is no harm.
func (o *Object) Settle() {
	if o.fields != nil {
		o.fields = nil
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

// Packer packs the objects of one resource.
type Packer struct {
	apiVersion, kind string
	secret           bool
	redact           *Redactor
	zip              *Compressor
}

// NewPacker packs objects of a kind; gvk is filled in where a list's items do
// not name it.
func NewPacker(gvk schema.GroupVersionKind, redact *Redactor, zip *Compressor) *Packer {
	apiVersion, kind := gvk.ToAPIVersionAndKind()
	return &Packer{
		apiVersion: apiVersion, kind: kind, redact: redact, zip: zip,
		secret: gvk.Group == "" && gvk.Kind == "Secret",
	}
}

// Meta is what has to be known of a manifest before it is packed.
type Meta struct {
	Namespace       string  `json:"namespace"`
	Name            string  `json:"name"`
	UID             string  `json:"uid"`
	ResourceVersion string  `json:"resourceVersion"`
	Created         v1.Time `json:"creationTimestamp"`
}

// created is the Unix time in seconds.
func (m *Meta) created() int64 {
	if m.Created.IsZero() {
		return 0
	}
	return m.Created.Unix()
}

// Pack cleans, redacts and compresses a manifest. known, if not nil, is asked
// for the object seen last under the same key; when that has the same version
// it is returned as it is, which makes a relist cheap. Errors never hold a part
// of the manifest.
func (p *Packer) Pack(raw []byte, known func(key string) *Object) (*Object, error) {
	var top, metadata map[string]json.RawMessage
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", safe(err))
	}
	if err := json.Unmarshal(top["metadata"], &metadata); err != nil {
		return nil, fmt.Errorf("decode metadata: %w", safe(err))
	}
	var meta Meta
	if err := json.Unmarshal(top["metadata"], &meta); err != nil {
		return nil, fmt.Errorf("decode metadata: %w", safe(err))
	}
	if meta.Name == "" {
		return nil, errors.New("decode metadata: no name")
	}
	if known != nil {
		if last := known(Key(meta.Namespace, meta.Name)); last != nil &&
			last.UID == meta.UID && last.ResourceVersion == meta.ResourceVersion {
			return last, nil
		}
	}
	fields, err := readFields(metadata["managedFields"])
	if err != nil {
		return nil, fmt.Errorf("decode managedFields: %w", safe(err))
	}
	clean(metadata)
	top["metadata"] = join(metadata)
	p.complete(top)
	if p.secret {
		p.redact.secret(top)
	}
	managers, err := json.Marshal(managersOf(fields))
	if err != nil {
		return nil, fmt.Errorf("encode managers: %w", err)
	}
	return &Object{
		Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion,
		Created: meta.created(),
		packed:  p.zip.Compress(append(append(managers, '\n'), join(top)...)),
		fields:  fields,
	}, nil
}

// complete names version and kind, which the items of a list do not.
func (p *Packer) complete(top map[string]json.RawMessage) {
	for name, value := range map[string]string{"apiVersion": p.apiVersion, "kind": p.kind} {
		if _, ok := top[name]; !ok {
			top[name] = quote(value)
		}
	}
}

// Unpack gives the manifest as JSON, and the managers of that version.
func (p *Packer) Unpack(o *Object) (manifest []byte, managers []event.Manager, err error) {
	return o.Unpack(p.zip)
}

// Unpack gives the manifest as JSON, and the managers of that version.
func (o *Object) Unpack(zip *Compressor) (manifest []byte, managers []event.Manager, err error) {
	b, err := zip.Decompress(o.packed)
	if err != nil {
		return nil, nil, fmt.Errorf("unpack %s: %w", o.Key(), err)
	}
	head, manifest, _ := bytes.Cut(b, []byte("\n"))
	if err := json.Unmarshal(head, &managers); err != nil {
		return nil, nil, fmt.Errorf("unpack managers of %s: %w", o.Key(), err)
	}
	return manifest, managers, nil
}
