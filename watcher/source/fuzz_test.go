package source

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// A line of a watch is an event with an object that has a name, or is refused.
func FuzzWatchLine(f *testing.F) {
	for _, line := range []string{
		`{"type":"ADDED","object":{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"b","uid":"c","resourceVersion":"1"},"data":{"k":"v"}}}`,
		`{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12746","annotations":{"k8s.io/initial-events-end":"true"}}}}`,
		`{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version: 1 (2)"}}`,
		`{"object":{},"type":"DELETED"}`, `{"type":"MODIFIED","object":null}`, `{"type":"ADDED","object":{"metadata":[]}}`, `[]`,
	} {
		f.Add([]byte(line))
	}
	zip, err := object.NewCompressor()
	if err != nil {
		f.Fatal(err)
	}
	kind := schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	d := decoder{
		packer: object.NewPacker(kind, object.NewRedactor(object.RandomKey(), nil), zip.Vocabulary("configmaps")),
		known:  func(string) *object.Object { return nil },
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		ev, err := d.event(line)
		if err != nil {
			return
		}
		switch o := ev.Object; {
		case o != nil && o.Name == "":
			t.Fatalf("an object without a name: %s", line)
		case o != nil:
			if _, err := o.Manifest(zip); err != nil {
				t.Fatalf("packed, and not to be unpacked: %v", err)
			}
		case ev.Type == watch.Error && ev.Status == nil, ev.Type != watch.Error && ev.Type != watch.Bookmark:
			t.Fatalf("an event of nothing: %s", line)
		}
	})
}
