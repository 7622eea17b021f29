package slack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

// recordings are changes that a real API server made, with what diff says of
// them.
const recordings = "../diff/testdata/corpus"

// recorded is an event of the recordings, as diff sends it on.
func recorded(t *testing.T, name string) event.Event {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(recordings, name+".txtar"))
	require.NoError(t, err)
	in := sections(string(raw))
	e := eventtest.Sample(event.Update)
	var attributes struct {
		Kind, Namespace, Name, Subject string
		APIVersion                     string `yaml:"apiVersion"`
		Action                         event.Action
		ChangedBy                      []struct{ Manager, Operation, Subresource string } `yaml:"changedBy"`
	}
	require.NoError(t, yaml.Unmarshal([]byte(in["event"]), &attributes))
	e.Action, e.Kind, e.APIVersion, e.Namespace = attributes.Action, attributes.Kind, attributes.APIVersion, attributes.Namespace
	e.Name, e.Subject, e.ID = attributes.Name, attributes.Subject, "recorded."+name
	e.PartitionKey, e.ChangedBy, e.Object, e.OldObject = e.Subject, nil, asJSON(t, in["new"]), asJSON(t, in["old"])
	for _, m := range attributes.ChangedBy {
		e.ChangedBy = append(e.ChangedBy, event.Manager{Manager: m.Manager, Operation: m.Operation, Subresource: m.Subresource})
	}
	e.Diff = &event.Diff{Summary: strings.TrimSpace(in["summary"])}
	for line := range strings.Lines(in["changes"]) {
		var c event.FieldChange
		require.NoError(t, json.Unmarshal([]byte(line), &c))
		e.Diff.Changes = append(e.Diff.Changes, c)
	}
	e.Payload = event.TextPayload("text/x-diff; charset=utf-8", in["want"])
	return e
}

// sections splits the txtar format.
func sections(archive string) map[string]string {
	out, name := map[string]string{}, ""
	for line := range strings.Lines(archive) {
		if next, ok := strings.CutPrefix(strings.TrimSpace(line), "-- "); ok && strings.HasSuffix(next, " --") {
			name = strings.TrimSuffix(next, " --")
			continue
		}
		out[name] += line
	}
	return out
}

func asJSON(t *testing.T, text string) json.RawMessage {
	t.Helper()
	if text == "" {
		return nil
	}
	var v any
	require.NoError(t, yaml.Unmarshal([]byte(text), &v))
	out, err := json.Marshal(v)
	require.NoError(t, err)
	return out
}

// real are the changes whose messages are golden.
var real = []string{
	"deployment-rollout", "deployment-chart-upgrade", "deployment-sidecar-first", "deployment-password-in-env", "deployment-created",
	"deployment-deleted", "scale-by-person", "configmap-yaml", "configmap-nginx", "configmap-binary", "ingress-host-moved",
	"clusterrole-widened", "secret-rotated", "secret-tls-rotated", "ca-bundle-validating", "database-version", "namespace-deleted",
	"crd-schema",
}

func TestMessagesOfRecordedChangesAreExactlyAsExpected(t *testing.T) {
	require.GreaterOrEqual(t, len(real), 12)
	for _, name := range real {
		t.Run(name, func(t *testing.T) {
			e := recorded(t, name)
			requireGolden(t, "recorded/"+name, postedBy(t, Config{
				ClusterName: "prod-eu",
				Link:        "https://console.example.com/{{ pathescape .Namespace }}/{{ lower .Kind }}/{{ pathescape .Name }}",
			}, e))
		})
	}
}

// All recordings fit into what Slack shows.
func TestEveryRecordedChangeCanBeShown(t *testing.T) {
	files, err := filepath.Glob(recordings + "/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		e := recorded(t, strings.TrimSuffix(filepath.Base(file), ".txtar"))
		requireShowable(t, postedBy(t, Config{}, e))
	}
}
