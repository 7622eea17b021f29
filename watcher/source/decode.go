package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// decoder turns what the API server sends into packed objects. Its errors hold
// nothing of a manifest.
type decoder struct {
	packer *object.Packer
	// known gives the object seen last, so that a relist packs only what changed.
	known func(key string) *object.Object
}

// watchEvent is a line of a watch.
type watchEvent struct {
	Type   watch.EventType
	Object *object.Object // of ADDED, MODIFIED and DELETED
	Status *metav1.Status // of ERROR
	// Version is the resourceVersion up to which all has come with this event.
	Version string
	// InitialEnd tells that a BOOKMARK ends the objects that a streaming list
	// begins with.
	InitialEnd bool
}

// event decodes a line of a watch: {"type":"ADDED","object":{…}}.
func (d decoder) event(line []byte) (watchEvent, error) {
	in, ok := split(line)
	if !ok {
		if err := json.Unmarshal(line, &in); err != nil {
			return watchEvent{}, errors.New("decode watch event: not JSON")
		}
	}
	out := watchEvent{Type: in.Type}
	switch in.Type {
	case watch.Added, watch.Modified, watch.Deleted:
		o, err := d.packer.Pack(in.Object, d.known)
		if err != nil {
			return out, fmt.Errorf("watch event: %w", err)
		}
		out.Object, out.Version = o, o.ResourceVersion
		return out, nil
	case watch.Bookmark:
		var mark metav1.PartialObjectMetadata
		if err := json.Unmarshal(in.Object, &mark); err != nil {
			return out, errors.New("decode bookmark: not JSON")
		}
		out.Version = mark.ResourceVersion
		out.InitialEnd = mark.Annotations[metav1.InitialEventsAnnotationKey] == "true"
		return out, nil
	case watch.Error:
		out.Status = &metav1.Status{}
		if err := json.Unmarshal(in.Object, out.Status); err != nil {
			return out, errors.New("decode watch error: not JSON")
		}
		return out, nil
	}
	return out, fmt.Errorf("decode watch event: unknown type %.20q", in.Type)
}

// wire is a watch event as it is sent.
type wire struct {
	Type   watch.EventType
	Object json.RawMessage
}

// split takes a watch event apart that is written as API servers do, without a
// look at its object, which the packer checks.
func split(line []byte) (wire, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"type":"`))
	if !ok {
		return wire{}, false
	}
	kind, rest, ok := bytes.Cut(rest, []byte(`","object":`))
	if !ok || len(kind) > len(watch.Bookmark) || !bytes.HasSuffix(rest, []byte("}")) {
		return wire{}, false
	}
	return wire{watch.EventType(kind), rest[:len(rest)-1]}, true
}

// page is a part of a list, or all of it.
type page struct {
	metav1.ListMeta
	Objects []*object.Object
}

// list decodes a list token by token: an item is packed before the next is
// read.
func (d decoder) list(r io.Reader) (*page, error) {
	dec := json.NewDecoder(r)
	out := &page{}
	if err := expect(dec, json.Delim('{')); err != nil {
		return nil, err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, listError(err)
		}
		switch name {
		case "metadata":
			err = dec.Decode(&out.ListMeta)
		case "items":
			out.Objects, err = d.items(dec)
		default:
			var skipped json.RawMessage
			err = dec.Decode(&skipped)
		}
		if err != nil {
			return nil, listError(err)
		}
	}
	if err := expect(dec, json.Delim('}')); err != nil {
		return nil, err
	}
	if out.ResourceVersion == "" {
		return nil, errors.New("decode list: no resourceVersion")
	}
	return out, nil
}

func (d decoder) items(dec *json.Decoder) ([]*object.Object, error) {
	open, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if open == nil {
		return nil, nil // "items": null
	}
	if open != json.Delim('[') {
		return nil, errors.New("items is no list")
	}
	var items []*object.Object
	var raw json.RawMessage // reused for every item
	for dec.More() {
		if err := dec.Decode(&raw); err != nil {
			return nil, err
		}
		o, err := d.packer.Pack(raw, d.known)
		if err != nil {
			return nil, err
		}
		items = append(items, o)
	}
	return items, expect(dec, json.Delim(']'))
}

func expect(dec *json.Decoder, want json.Delim) error {
	t, err := dec.Token()
	if err == nil && t != want {
		err = fmt.Errorf("%s is missing", want)
	}
	if err != nil {
		return listError(err)
	}
	return nil
}

// listError says what broke: the connection, or the JSON, of which nothing is
// repeated.
func listError(err error) error {
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("decode list: syntax error at byte %d", s.Offset)
	}
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return errors.New("decode list: not a list")
	}
	return fmt.Errorf("decode list: %w", err)
}
