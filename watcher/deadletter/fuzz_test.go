package deadletter

import (
	"strings"
	"testing"
)

// A line of a dead letter is an event that could be sent, or is refused.
func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"0a4f5a2e-6c1d-4c57-9e0b-2f1f0f6f7c11.41388.update","source":"/clusters/c","type":"dev.kwatchman.resource.update",` +
		`"subject":"/apis/apps/v1/namespaces/shop/deployments/web","time":"2026-11-22T09:30:01Z","datacontenttype":"application/json","cluster":"c",` +
		`"apiversion":"apps/v1","kind":"Deployment","namespace":"shop","name":"web","partitionkey":"/apis/apps/v1/namespaces/shop/deployments/web","via":"watch",` +
		`"kwatchmanstep":"2","data":{"action":"Update","object":{"a":1},"oldObject":{"a":2}}}`))
	f.Add([]byte(`{"specversion":"1.0","id":"1"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		got, err := decode(line)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("not one line: %q", err)
			}
			return
		}
		if err := got.Validate(); err != nil {
			t.Fatalf("read, and cannot be sent: %v", err)
		}
	})
}
