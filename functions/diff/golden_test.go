package diff

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

var update = flag.Bool("update", false, "write what the function answers into testdata")

// sections are the parts of a golden file that an answer fills: the text of
// the payload, then the members of the diff, or the reason of a stop.
var sections = []string{"want", "summary", "changes", "patch", "reason"}

// given are the parts that it does not fill.
var given = []string{"event", "settings", "old", "new"}

// TestAnswersWhatTheGoldenFilesSay: a file without old is an Add, one without
// new a Delete. Those in corpus were recorded from a real API server.
func TestAnswersWhatTheGoldenFilesSay(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	recorded, err := filepath.Glob("testdata/corpus/*.txtar")
	require.NoError(t, err)
	for _, file := range append(files, recorded...) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			comment, in := splitArchive(string(raw))
			got := answer(t, in)
			if *update {
				writeGolden(t, file, comment, in, got)
			}
			for _, section := range sections {
				require.Equal(t, in[section], got[section], section)
			}
		})
	}
}

// answer runs the function on the manifests of a golden file.
func answer(t *testing.T, in map[string]string) map[string]string {
	t.Helper()
	e := recordedEvent(t, in)
	out, err := configured(t, in["settings"]).handle(t.Context(), e)
	if out == nil {
		require.Error(t, err)
		require.NotErrorAs(t, err, new(*event.Error))
		return map[string]string{"reason": strings.TrimPrefix(err.Error(), "stop: ") + "\n"}
	}
	require.NoError(t, err)
	require.Equal(t, ContentType, out.Payload.ContentType)
	require.NotNil(t, out.Diff.Changes)
	got := map[string]string{"want": out.Payload.Text(), "summary": out.Diff.Summary + "\n"}
	for _, c := range out.Diff.Changes {
		got["changes"] += compact(t, c) + "\n"
	}
	if out.Diff.Patch != nil {
		got["patch"] = compact(t, out.Diff.Patch) + "\n"
	}
	return got
}

// recordedEvent is the event of a golden file; manifests are JSON or YAML.
func recordedEvent(t *testing.T, in map[string]string) event.Event {
	t.Helper()
	e := changed(asJSON(t, in["old"]), asJSON(t, in["new"]))
	if in["event"] == "" {
		return e
	}
	e.ChangedBy = nil
	dec := json.NewDecoder(strings.NewReader(asJSON(t, in["event"])))
	var attributes struct {
		Kind, APIVersion, Namespace, Name, Subject, Via string
		Action                                          event.Action
		ChangedBy                                       []event.Manager
	}
	require.NoError(t, dec.Decode(&attributes))
	require.Equal(t, e.Action, attributes.Action)
	e.Kind, e.APIVersion, e.Namespace, e.Name = attributes.Kind, attributes.APIVersion, attributes.Namespace, attributes.Name
	e.Subject, e.ChangedBy = attributes.Subject, attributes.ChangedBy
	return e
}

// asJSON is a manifest of a golden file as JSON.
func asJSON(t *testing.T, text string) string {
	t.Helper()
	if text == "" || json.Valid([]byte(text)) {
		return text
	}
	v, ok := yamlDocument(text)
	require.True(t, ok, "neither JSON nor YAML")
	return compact(t, v)
}

// configured is the policy with settings as they stand in the environment.
func configured(t *testing.T, settings string) *policy {
	t.Helper()
	var cfg Config
	for line := range strings.Lines(settings) {
		name, list, ok := strings.Cut(strings.TrimSpace(line), "=")
		require.True(t, ok, line)
		switch values := strings.Split(list, ","); name {
		case "DIFF_IGNORE":
			cfg.Ignore = values
		case "DIFF_SHOW":
			cfg.Show = values
		case "DIFF_AUTOSCALERS":
			cfg.Autoscalers = values
		default:
			require.Fail(t, "unknown setting", name)
		}
	}
	p, err := newPolicy(cfg)
	require.NoError(t, err)
	return p
}

func changed(old, new string) event.Event {
	action := event.Update
	switch {
	case old == "":
		action = event.Add
	case new == "":
		action = event.Delete
	}
	e := eventtest.Sample(action)
	e.OldObject, e.Object = nil, nil
	if old != "" {
		e.OldObject = json.RawMessage(old)
	}
	if new != "" {
		e.Object = json.RawMessage(new)
	}
	return e
}

func compact(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	require.NoError(t, enc.Encode(v))
	return strings.TrimSuffix(b.String(), "\n")
}

// splitArchive reads the txtar format: a comment, then files that each begin
// with a line "-- name --".
func splitArchive(text string) (comment string, files map[string]string) {
	files = map[string]string{}
	name := ""
	for line := range strings.Lines(text) {
		marker := strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(marker, "-- ") && strings.HasSuffix(marker, " --") {
			name = marker[len("-- ") : len(marker)-len(" --")]
			files[name] = ""
			continue
		}
		if name == "" {
			comment += line
			continue
		}
		files[name] += line
	}
	return comment, files
}

func writeGolden(t *testing.T, file, comment string, in, got map[string]string) {
	t.Helper()
	out := comment
	for _, name := range append(slices.Clone(given), sections...) {
		text := in[name]
		if !slices.Contains(given, name) {
			text = got[name]
			in[name] = text
		}
		if text != "" {
			out += fmt.Sprintf("-- %s --\n%s", name, text)
		}
	}
	require.NoError(t, os.WriteFile(file, []byte(out), 0o600))
}

func TestManifestThatIsNoneIsAPermanentError(t *testing.T) {
	for _, raw := range []string{`{"a":`, `[1]`, `"secret-value"`} {
		for _, e := range []event.Event{changed(raw, `{}`), changed(`{}`, raw)} {
			_, err := handle(t.Context(), e)
			var failure *event.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, event.StatusPermanent, failure.Status)
			require.NotContains(t, err.Error(), "secret-value")
		}
	}
}
