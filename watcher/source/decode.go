package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// decoder turns what the API server sends into packed objects. Its errors hold
// nothing of a manifest.
type decoder struct {
	packer *object.Packer
	// known gives the object seen last, so that a relist packs only what changed.
	known func(key string) *object.Object
	// baseline tells whether nobody will ask who changed an object: the
	// managedFields of a baseline would be most of its memory.
	baseline func(*object.Object) bool
}

func (d decoder) pack(raw []byte) (*object.Object, error) {
	o, err := d.packer.Pack(raw, d.known)
	if err == nil && d.baseline(o) {
		o.Settle()
	}
	return o, err
}

// event decodes a line of a watch: {"type":"ADDED","object":{…}}.
func (d decoder) event(line []byte) (watch.Event, error) {
	var in struct {
		Type   watch.EventType
		Object json.RawMessage
	}
	if err := json.Unmarshal(line, &in); err != nil {
		return watch.Event{}, errors.New("decode watch event: not JSON")
	}
	out := watch.Event{Type: in.Type}
	switch in.Type {
	case watch.Added, watch.Modified, watch.Deleted:
		o, err := d.pack(in.Object)
		out.Object = o
		return out, err
	case watch.Bookmark:
		var mark metav1.PartialObjectMetadata
		if err := json.Unmarshal(in.Object, &mark); err != nil {
			return out, errors.New("decode bookmark: not JSON")
		}
		out.Object = &mark
		return out, nil
	case watch.Error:
		var status metav1.Status
		if err := json.Unmarshal(in.Object, &status); err != nil {
			return out, errors.New("decode watch error: not JSON")
		}
		out.Object = &status
		return out, nil
	}
	return out, fmt.Errorf("decode watch event: unknown type %.20q", in.Type)
}

// list decodes a list token by token: an item is packed before the next is
// read.
func (d decoder) list(r io.Reader) (runtime.Object, error) {
	dec := json.NewDecoder(r)
	list := &metainternal.List{}
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
			err = dec.Decode(&list.ListMeta)
		case "items":
			list.Items, err = d.items(dec)
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
	if list.ResourceVersion == "" {
		return nil, errors.New("decode list: no resourceVersion")
	}
	return list, nil
}

func (d decoder) items(dec *json.Decoder) ([]runtime.Object, error) {
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
	var items []runtime.Object
	var raw json.RawMessage // reused for every item
	for dec.More() {
		if err := dec.Decode(&raw); err != nil {
			return nil, err
		}
		o, err := d.pack(raw)
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

// causeBroken marks an error that the server did not send.
const causeBroken metav1.CauseType = "UnreadableWatchEvent"

// brokenEvent is how a watch tells the reflector that it cannot go on.
func brokenEvent(err error) watch.Event {
	status := apierrors.NewInternalError(err).Status()
	status.Details.Causes = append(status.Details.Causes, metav1.StatusCause{Type: causeBroken})
	return watch.Event{Type: watch.Error, Object: &status}
}
