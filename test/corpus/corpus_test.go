package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/kwatchman/kwatchman/event"
)

const folder = "../../functions/diff/testdata/corpus"

// attributes are what a file says of its event.
type attributes struct {
	APIVersion, Kind, Namespace, Name, Subject, Via string
	Action                                          event.Action
	ChangedBy                                       []event.Manager
}

func TestTheCorpusIsWide(t *testing.T) {
	files, err := filepath.Glob(folder + "/*.txtar")
	require.NoError(t, err)
	kinds, custom := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		a := readPair(t, file)
		kinds[a.Kind] = true
		if strings.HasPrefix(a.APIVersion, "example.") {
			custom[a.Kind] = true
		}
	}
	require.GreaterOrEqual(t, len(files), 80)
	require.GreaterOrEqual(t, len(kinds), 24, "%v", kinds)
	require.GreaterOrEqual(t, len(custom), 2, "%v", custom)
	t.Logf("%d pairs of %d kinds, of which %d are custom", len(files), len(kinds), len(custom))
}

func TestEachPairHasItsScenario(t *testing.T) {
	files, err := filepath.Glob(folder + "/*.txtar")
	require.NoError(t, err)
	var got, want []string
	for _, file := range files {
		got = append(got, filepath.Base(file))
	}
	for _, s := range scenarios() {
		for _, p := range s.keep {
			want = append(want, s.file(p))
		}
	}
	require.ElementsMatch(t, want, got, "make corpus writes them; what is left over may go")
}

// readPair reads a file and checks that it is whole.
func readPair(t *testing.T, file string) attributes {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	comment, sections := splitArchive(string(raw))
	require.NotEmpty(t, comment, file)
	texts := map[string]string{}
	for _, s := range sections {
		texts[s.name] = s.text
	}
	var a attributes
	require.NoError(t, yaml.UnmarshalStrict([]byte(texts["event"]), &a), file)
	require.Equal(t, a.Action != event.Add, texts["old"] != "", file)
	require.Equal(t, a.Action != event.Delete, texts["new"] != "", file)
	require.NotEqual(t, texts["old"], texts["new"], file)
	for _, side := range []string{texts["old"], texts["new"]} {
		if side == "" {
			continue
		}
		var manifest struct {
			APIVersion, Kind string
			Metadata         struct{ Name, Namespace string }
		}
		require.NoError(t, yaml.Unmarshal([]byte(side), &manifest), file)
		require.Equal(t, []string{a.APIVersion, a.Kind, a.Namespace, a.Name},
			[]string{manifest.APIVersion, manifest.Kind, manifest.Metadata.Namespace, manifest.Metadata.Name}, file)
	}
	return a
}

// What is another value in every recording is the same in every file, and what
// differed still differs.
func TestARecordingIsTheSameTheNextTime(t *testing.T) {
	manifest := func(version, uid, created, renewed, hash, pod string) json.RawMessage {
		return json.RawMessage(`{"metadata":{"namespace":"shop-0007","resourceVersion":"` + version + `","uid":"` + uid + `","creationTimestamp":"` + created + `"},` +
			`"spec":{"renewTime":"` + renewed + `","clusterIP":"10.0.171.3","ports":[{"port":80,"nodePort":31942}]},"data":{"key":"redacted:` + hash + `"},"target":"` + pod + `"}`)
	}
	const uid, created = "4dff2f4c-2ed0-4b34-a9d3-6e5dbfdbb8c6", "2026-05-01T10:20:30Z"
	p := stable(event.Event{
		Kind: "Lease", Namespace: "shop-0007", Name: "web-x7zk2", Subject: "/api/v1/namespaces/shop-0007/leases/web-x7zk2",
		Change: event.Change{
			Action:    event.Update,
			OldObject: manifest("998", uid, created, "2026-05-01T10:20:31.123456Z", "0011aabb", "web-x7zk2"),
			Object:    manifest("1002", uid, created, "2026-05-01T10:20:41.123456Z", "0022aabb", "web-q1r4v"),
		},
	}, "shop-0007", map[string]string{"web-x7zk2": "web-", "web-q1r4v": "web-"})

	want := func(version, minute, hash, pod string) string {
		return `{"metadata":{"namespace":"shop","resourceVersion":"` + version + `","uid":"00000000-0000-4000-8000-000000000001","creationTimestamp":"2026-01-01T09:00:00Z"},` +
			`"spec":{"renewTime":"2026-01-01T09:0` + minute + `:00.000000Z","clusterIP":"10.0.0.11","ports":[{"port":80,"nodePort":30001}]},"data":{"key":"redacted:` + hash + `"},"target":"` + pod + `"}`
	}
	require.JSONEq(t, want("1001", "1", "00000001", "web-00001"), asJSON(t, p.old))
	require.JSONEq(t, want("1002", "2", "00000002", "web-00002"), asJSON(t, p.new))
	require.Equal(t, "/api/v1/namespaces/shop/leases/web-00001", p.attributes["subject"])
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

func TestARecordingLeavesTheSectionsThatAreNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.txtar")
	require.NoError(t, os.WriteFile(file, []byte("old comment\n-- event --\na: 1\n-- settings --\nDIFF_SHOW=status\n-- new --\nb: 1\n-- want --\ntext\n-- summary --\none line\n"), 0o600))
	p := pair{attributes: map[string]any{"a": 2}, old: map[string]any{"b": 2}}
	require.NoError(t, p.write(dir, "x.txtar", "comment\n"))
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "comment\n-- event --\na: 2\n-- settings --\nDIFF_SHOW=status\n-- old --\nb: 2\n-- want --\ntext\n-- summary --\none line\n", string(got))
}
