package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/conform"
)

// What is recorded on a real API server can be explained with another chain,
// sent again, and is what the first step got.
func TestARecordingIsExplainedSentAndReplayed(t *testing.T) {
	c, sink, slack := newCluster(t), record(t, nil), newSlack(t, 0)
	file := filepath.Join(t.TempDir(), "changes.jsonl")
	w := c.startAllInOne([]string{"-n", c.namespace, "--record", file, "--handlers", sink.URL}, "KW_RESOURCES=cm,deploy")
	c.create(deployments, deployment("web", "nginx:1.27"))
	c.patch(deployments, "web", `{"spec":{"replicas":4}}`)
	c.patch(deployments, "web", `{"status":{"observedGeneration":2}}`, "status")
	c.create(configMaps, configMap("settings", map[string]any{"level": "info"}))
	c.patch(configMaps, "settings", `{"data":{"level":"debug"}}`)
	c.delete(configMaps, "settings")
	sink.await(t, "", 6)
	require.Equal(t, 0, w.stop())
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode(), "nobody else reads manifests")

	chain := []string{"KW_HANDLERS=diff,log,ignoreevents,slack," + sink.URL, "IGNOREEVENTS_EVENTS=Delete", "SLACK_WEBHOOK_URL=" + slack.URL + secretPath}
	code, out, errs := runToEnd(t, "kwatchman", []string{"explain", file}, chain)
	require.Zero(t, code, errs)
	require.Contains(t, out, "  1 diff: stops: only status changed\n")
	require.Contains(t, out, "  1 diff: continues: level info → debug\n")
	require.Contains(t, out, "  2 log: continues\n      would print\n      {\"time\":")
	require.Contains(t, out, "  3 ignoreevents: stops: action Delete is ignored\n")
	require.Contains(t, out, "  4 slack: continues\n      would post to the incoming webhook\n      {\n")
	require.Contains(t, out, "  5 http://127.0.0.1:")
	require.Contains(t, out, ": not called; --remote calls it\n")
	require.True(t, strings.HasSuffix(out, `
6 events
      4  reached the end
      1  1 diff stops: only status changed
      1  3 ignoreevents stops: action Delete is ignored
`), out)
	require.Empty(t, slack.got(), "nothing was posted")
	require.Len(t, sink.got(""), 6, "nothing was sent")

	code, out, errs = runToEnd(t, "kwatchman", []string{"explain", "--brief", "--remote", file}, chain[:1])
	require.Equal(t, 1, code, "slack is not configured: %s", out)
	require.Contains(t, errs, "SLACK_WEBHOOK_URL is not set")

	code, out, errs = runToEnd(t, "kwatchman", []string{"send", "--event", file, sink.URL}, nil)
	require.Zero(t, code, errs)
	require.Equal(t, 6, strings.Count(out, ": continues in "))
	code, out, errs = runToEnd(t, "kwatchman", []string{"replay", file}, []string{"KW_HANDLERS=" + sink.URL})
	require.Zero(t, code, errs)
	require.Contains(t, out, "6 of 6 events delivered")
	got := sink.got("")
	require.Len(t, got, 18)
	ids := func(events []event.Event) (out []string) {
		for _, e := range events {
			if e.Name == "settings" {
				out = append(out, e.ID)
			}
		}
		return out
	}
	require.Equal(t, ids(got[:6]), ids(got[6:12]))
	require.Equal(t, ids(got[:6]), ids(got[12:]))
}

func TestSendPrintsEachStepsAnswer(t *testing.T) {
	sink := record(t, nil)
	sick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the disk is full", http.StatusServiceUnavailable)
	}))
	t.Cleanup(sick.Close)
	code, out, errs := runToEnd(t, "kwatchman", []string{"send", "diff", sink.URL, sick.URL + secretPath}, []string{"K_SINK=http://127.0.0.1:1"})
	require.Equal(t, 1, code)
	require.Regexp(t, `^UPDATE Deployment shop/web \([0-9a-f-]+\.41388\.update\)
  1 diff: continues in [0-9.]+.?s: image of web 1\.4\.2 → 1\.5\.0, replicas 2 → 3
  2 http://127\.0\.0\.1:\d+: continues in [0-9.]+.?s
  3 http://127\.0\.0\.1:\d+: fails in [0-9.]+.?s: answered 503: the disk is full \(the watcher would try again\)
$`, out)
	require.Equal(t, "kwatchman: send: the event was not delivered\n", errs)
	require.Equal(t, "image of web 1.4.2 → 1.5.0, replicas 2 → 3", sink.got("web")[0].Diff.Summary)

	code, out, errs = runToEnd(t, "kwatchman", []string{"send", "--event", eventFile(t, conform.Sample(event.Delete)), "ignoreevents"},
		[]string{"IGNOREEVENTS_EVENTS=Delete"})
	require.Zero(t, code, errs)
	require.Contains(t, out, "1 ignoreevents: stops in ")
	require.Contains(t, out, ": action Delete is ignored\n")

	for want, args := range map[string][]string{
		`unknown handler "nothing"`: {"nothing"}, "unknown action": {"--action", "gone", "diff"}, "no such file": {"--event", "/nowhere", "diff"},
	} {
		code, _, errs = runToEnd(t, "kwatchman", append([]string{"send"}, args...), nil)
		require.Equal(t, 1, code)
		require.Contains(t, errs, want)
		require.Equal(t, 1, strings.Count(errs, "\n"), errs)
	}
}

func TestARecordingThatCannotBeWrittenWithholdsNothing(t *testing.T) {
	c, sink := newCluster(t), record(t, nil)
	dir := filepath.Join(t.TempDir(), "folder")
	require.NoError(t, os.Mkdir(dir, 0o700))
	w := c.startAllInOne([]string{"-n", c.namespace}, "KW_RESOURCES=cm", "KW_HANDLERS="+sink.URL, "KW_RECORD="+filepath.Join(dir, "r.jsonl"))
	require.NoError(t, os.RemoveAll(dir))
	for n := range 3 {
		c.create(configMaps, configMap(fmt.Sprint("c", n), nil))
	}
	sink.await(t, "", 3)
	w.await("event not recorded")
	require.Equal(t, 1, strings.Count(w.stderr.String(), "event not recorded"), "said once a minute")
	require.Equal(t, 0, w.stop())

	for record, want := range map[string]string{
		"/nowhere/r.jsonl": "KW_RECORD: /nowhere/r.jsonl: no such file or directory",
		c.kubeconfig + "/": "KW_RECORD: ",
	} {
		code, _, errs := runToEnd(t, "kwatchman", nil, []string{"KW_RECORD=" + record, "KW_KUBECONFIG=" + c.kubeconfig, "KW_METRICS_ADDR="})
		require.Equal(t, 1, code)
		require.Contains(t, errs, want)
	}
}
