package diff

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"
)

// TestYAMLReadsBackAsTheSameManifest uses an independent reader of YAML.
func TestYAMLReadsBackAsTheSameManifest(t *testing.T) {
	for seed := range uint64(seeds) {
		r := newRandom(seed)
		r.nulls = true
		m := r.object(5)
		text := renderYAML(m, r.editObject(m, 5))
		requireHarmless(t, text, "\n")
		require.Equal(t, compact(t, m), compact(t, readYAML(t, text)), "seed %d:\n%s", seed, text)
	}
}

func readYAML(t *testing.T, text string) any {
	t.Helper()
	var doc yaml.Node
	require.NoError(t, yaml.Unmarshal([]byte(text), &doc), text)
	return fromNode(t, doc.Content[0])
}

func fromNode(t *testing.T, n *yaml.Node) any {
	t.Helper()
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			require.Equal(t, "!!str", n.Content[i].ShortTag(), n.Content[i].Value)
			m[n.Content[i].Value] = fromNode(t, n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		l := []any{}
		for _, item := range n.Content {
			l = append(l, fromNode(t, item))
		}
		return l
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value == "true"
	case "!!int", "!!float":
		return json.Number(n.Value)
	case "!!str":
		return n.Value
	}
	require.Fail(t, "tag "+n.ShortTag(), n.Value)
	return nil
}

// TestDeepNestStaysSmall: indentation alone would make 50 MB of these 60 KB.
func TestDeepNestStaysSmall(t *testing.T) {
	const depth = 9000
	raw := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
	e := changed(raw, strings.Replace(raw, "1", "2", 1))
	m, err := decode(&e)
	require.NoError(t, err)
	require.Less(t, len(renderYAML(m.old, m.new)), 2*len(raw))
	out, err := handle(t.Context(), e)
	require.NoError(t, err)
	require.Len(t, out.Diff.Changes, 1)
	require.Contains(t, out.Diff.Summary, "a.a.a 1 → 2")
	require.Less(t, len(out.Diff.Summary), 400)
}

func TestPlainStringsAreTheReadableOnes(t *testing.T) {
	for _, s := range []string{"web", "web:1.4", "10.0.0.1", "50m", "128Mi", "1.27.3", "--port=80", "http://web:80/a?b=c#d", "a, b", "größe", "RollingUpdate", "/etc/web", "80:8080", "a\\b", "(x)", "$HOME"} {
		require.Equal(t, s, scalar(s))
	}
}
