package diff

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// FuzzHandle: whatever the manifests hold, the function answers, and what it
// answers is bounded and harmless.
func FuzzHandle(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(f, err)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(f, err)
		_, in := splitArchive(string(raw))
		f.Add([]byte(in["old"]), []byte(in["new"]), "/api/v1/nodes/n1")
	}
	f.Fuzz(func(t *testing.T, old, new []byte, subject string) {
		e := changed(manifestFrom(t, old), manifestFrom(t, new))
		e.Subject = subject
		out, err := handle(t.Context(), e)
		if err != nil {
			_, failed := errors.AsType[*event.Error](err)
			require.False(t, failed, "%v", err)
			return
		}
		requireWithinLimits(t, out)
	})
}

// manifestFrom makes something of any bytes: what is no JSON object becomes
// the file of a ConfigMap, nothing is the side that is absent.
func manifestFrom(t *testing.T, raw []byte) string {
	t.Helper()
	var object map[string]json.RawMessage
	if len(raw) == 0 || json.Unmarshal(raw, &object) == nil {
		return string(raw)
	}
	return compact(t, map[string]any{"kind": "ConfigMap", "data": map[string]string{"f": string(raw), string(raw): "f"}})
}

// FuzzYAML: any manifest reads back as it was.
func FuzzYAML(f *testing.F) {
	f.Add("key", "value\n", "peer")
	f.Add("a: b", " two\n\tlines", "two\n")
	f.Fuzz(func(t *testing.T, key, value, peer string) {
		if len(key) > 200 {
			return // readers of YAML take no key beyond 1024 bytes
		}
		raw := compact(t, map[string]any{key: []any{value, map[string]any{value: value}}, "n": map[string]any{"s": value}})
		other := compact(t, map[string]any{key: []any{peer}, "n": map[string]any{"s": peer}})
		m, err := event.DecodeManifest([]byte(raw))
		require.NoError(t, err)
		o, err := event.DecodeManifest([]byte(other))
		require.NoError(t, err)
		if len(value) <= 200 {
			require.Equal(t, compact(t, m), compact(t, readYAML(t, renderYAML(m, o))))
		}
	})
}
