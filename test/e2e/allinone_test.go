package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/event"
)

// startAllInOne runs kwatchman in the test's namespace until it is ready.
func (c *cluster) startAllInOne(args []string, env ...string) *process {
	c.t.Helper()
	p := startWith(c.t, "kwatchman", args, append([]string{
		"KW_KUBECONFIG=" + c.kubeconfig, "KW_METRICS_ADDR=", "KW_CLUSTER_NAME=test",
	}, env...)...)
	p.await("ready")
	return p
}

// originalsExample is the example of the original's documentation, in three
// formats, with another webhook's URL.
func originalsExample(t *testing.T, webhook func(name string) string) map[string]string {
	t.Helper()
	paths := map[string]string{}
	for _, name := range []string{"config.toml", "config.yaml", "config.json"} {
		text, err := os.ReadFile(filepath.Join("../../watcher/config/testdata", name))
		require.NoError(t, err)
		paths[name] = filepath.Join(t.TempDir(), name)
		text = bytes.Replace(text, []byte("https://slack-webhook-url"), []byte(webhook(name)), 1)
		require.NoError(t, os.WriteFile(paths[name], text, 0o600))
	}
	return paths
}

// seenAt is when a watcher saw the change, as a message says it.
var seenAt = regexp.MustCompile(`\\u003c!date.+?\\u003e`)

// posted is what Slack was sent, but for the second in which each watcher saw
// the change.
func posted(t *testing.T, s *slackStandIn) []string {
	t.Helper()
	var out []string
	for _, m := range s.got() {
		text, err := json.Marshal(m)
		require.NoError(t, err)
		require.Len(t, seenAt.FindAll(text, -1), 1)
		out = append(out, seenAt.ReplaceAllString(string(text), "then"))
	}
	slices.Sort(out) // objects run side by side
	return out
}

// logged are the lines of the log function: what happened to which object.
func logged(t *testing.T, text string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(text) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m), line)
		delete(m, "time")
		text, err := json.Marshal(m)
		require.NoError(t, err)
		out = append(out, string(text))
	}
	slices.Sort(out)
	return out
}

func TestTheOriginalsFileSendsWhatSeparateProcessesSend(t *testing.T) {
	c := newCluster(t)
	separate := newSlack(t, 0)
	diff, _ := startFunction(t, "diff")
	log, logProcess := startFunction(t, "log")
	ignore, _ := startFunction(t, "ignoreevents", "IGNOREEVENTS_EVENTS=Add,Delete")
	slack, _ := startFunction(t, "slack", "SLACK_WEBHOOK_URL="+separate.URL+secretPath, "SLACK_CLUSTER_NAME=myClusterName")
	w := c.startWatcher("KW_HANDLERS=" + strings.Join([]string{diff, log, ignore, slack}, ","))

	slacks, processes := map[string]*slackStandIn{}, map[string]*process{}
	files := originalsExample(t, func(name string) string {
		slacks[name] = newSlack(t, 0)
		return slacks[name].URL + secretPath
	})
	for name, path := range files {
		processes[name] = c.startAllInOne([]string{"-c", path, "-n", c.namespace})
	}

	services := schema.GroupVersionResource{Version: "v1", Resource: "services"}
	c.create(deployments, deployment("web", "nginx:1.27"))
	c.create(services, object("v1", "Service", "web", map[string]any{"spec": map[string]any{
		"ports": []any{map[string]any{"port": int64(80)}},
	}}))
	c.create(configMaps, configMap("unwatched", nil))
	for i := range 5 {
		c.patch(deployments, "web", fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"nginx:2.%d"}]}}}}`, i))
		c.patch(deployments, "web", fmt.Sprintf(`{"status":{"observedGeneration":%d}}`, i+2), "status")
	}
	c.patch(services, "web", `{"spec":{"ports":[{"port":8080}]}}`)
	c.delete(services, "web")
	c.delete(deployments, "web")

	finished := func(out *output) func() bool {
		return func() bool { return strings.Count(out.String(), `"kwatchman.action":"Delete"`) == 2 }
	}
	eventually(t, finished(logProcess.stdout), "the separate processes finish")
	require.Equal(t, 0, w.stop())
	want := posted(t, separate)
	require.Len(t, want, 6, "the updates")
	wantLog := logged(t, logProcess.stdout.String())
	require.Len(t, wantLog, 10)
	for name, p := range processes {
		eventually(t, finished(p.stdout), "%s finishes", name)
		require.Equal(t, 0, p.stop())
		require.Equal(t, want, posted(t, slacks[name]), name)
		require.Equal(t, wantLog, logged(t, p.stdout.String()), name)
		require.NotContains(t, p.stderr.String(), "very-secret-token")
	}
}

func TestWithNothingConfiguredADeploymentsChangeIsLoggedWithItsDiff(t *testing.T) {
	c := newCluster(t)
	p := startWith(t, "kwatchman", []string{"-n", c.namespace}, "KUBECONFIG="+c.kubeconfig, "LOG_FORMAT=text", "NO_COLOR=1", "KW_METRICS_ADDR=")
	p.await("ready")
	c.create(configMaps, configMap("unwatched", nil))
	c.create(deployments, deployment("web", "nginx:1.27"))
	c.patch(deployments, "web", `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"nginx:1.28"}]}}}}`)
	eventually(t, func() bool { return strings.Contains(p.stdout.String(), "+      - image: nginx:1.28") }, "the diff")
	require.Contains(t, p.stdout.String(), "UPDATE Deployment "+c.namespace+"/web")
	require.Contains(t, p.stdout.String(), "by e2e")
	require.NotContains(t, p.stdout.String(), "unwatched")
	require.Equal(t, 0, p.stop())
}

func TestTheSameFunctionTwiceHasSettingsOfItsOwn(t *testing.T) {
	c := newCluster(t)
	first, last := newSlack(t, 0), newSlack(t, 0)
	sink := record(t, nil)
	path := filepath.Join(t.TempDir(), "kwatchman.yml")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `
resource: [{kind: configmaps, labelSelector: "watch=yes"}]
handler:
- name: slack
  webhookURL: %s
  clusterName: one
- {name: audit, url: "%s"}
- name: ignoreEvents
  events: Add
- name: slack
  webhookURL: %s
  clusterName: two
`, first.URL+secretPath, sink.URL, last.URL+secretPath), 0o600))
	c.startAllInOne([]string{"--config=" + path, "--namespace=" + c.namespace})
	cm := configMap("a", map[string]any{"n": "1"})
	cm.SetLabels(map[string]string{"watch": "yes"})
	c.create(configMaps, cm)
	c.create(configMaps, configMap("without-label", nil))
	c.patch(configMaps, "a", `{"data":{"n":"2"}}`)
	eventually(t, func() bool { return len(last.got()) == 1 }, "the second slack gets the update")
	require.Len(t, first.got(), 2, "the first one the Add too")
	require.Contains(t, texts(first.got()[0]), "cluster one")
	require.Contains(t, texts(last.got()[0]), "cluster two")
	require.Len(t, sink.got(""), 2, "the remote step between them")
}

// What a function costs nobody who does not name it.
func TestOnlyNamedFunctionsAreConstructed(t *testing.T) {
	c := newCluster(t)
	p := c.startAllInOne([]string{"-n", c.namespace, "-z", "debug"}, "SLACK_WEBHOOK_URL=no URL at all", "IGNOREEVENTS_EVENTS=Nonsense")
	require.Equal(t, 0, p.stop())
}

func TestAllResourcesShowButWhatMachinesWrite(t *testing.T) {
	c := newCluster(t)
	sink := record(t, nil)
	c.startAllInOne([]string{"-n", c.namespace}, "KW_RESOURCES=*", "KW_HANDLERS=diff,"+sink.URL)
	c.create(secrets, object("v1", "Secret", "key", map[string]any{"stringData": map[string]any{"password": "hunter2"}}))
	c.create(roles, object("rbac.authorization.k8s.io/v1", "Role", "reader", map[string]any{"rules": []any{}}))
	leases := schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	c.create(leases, object("coordination.k8s.io/v1", "Lease", "leader", map[string]any{}))
	c.create(configMaps, configMap("last", nil))
	for _, name := range []string{"key", "reader", "last"} {
		sink.await(t, name, 1)
	}
	require.Empty(t, sink.got("leader"))
	require.NotContains(t, string(sink.got("key")[0].Object), "aHVudGVyMg")
}

func TestCheckReportsEverythingAndChangesNothing(t *testing.T) {
	c := newCluster(t)
	sink := recordRaw(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := listener.Addr().String()
	require.NoError(t, listener.Close())

	env := []string{"KW_KUBECONFIG=" + c.kubeconfig, "KW_RESOURCES=deploy,nodes,crontabs.stable.example.com", "KW_NAMESPACE=" + c.namespace}
	code, stdout, stderr := runToEnd(t, "kwatchman", []string{"check"}, append(env, "KW_HANDLERS=diff,"+sink.URL+secretPath))
	require.Equal(t, 0, code, stderr)
	require.Empty(t, stderr)
	require.Regexp(t, `(?m)^resource +deployments.apps v1 +namespace `+c.namespace+` +ok$`, stdout)
	require.Regexp(t, `(?m)^resource +nodes v1 +cluster +ok$`, stdout)
	require.Regexp(t, `(?m)^resource +crontabs.stable.example.com +not served yet`, stdout)
	require.Regexp(t, `(?m)^handler +1 diff +built in +ok$`, stdout)
	require.Regexp(t, `(?m)^handler +2 http://127.0.0.1:\d+ +remote +ok$`, stdout)
	require.NotContains(t, stdout, "very-secret-token")
	require.Zero(t, sink.posts, "nothing is sent")

	forbidden := c.serviceAccount("no-watch", "list")
	env = []string{"KW_KUBECONFIG=" + forbidden, "KW_RESOURCES=cm,deploymnts", "KW_NAMESPACE=" + c.namespace}
	code, stdout, stderr = runToEnd(t, "kwatchman", []string{"check"}, append(env, "KW_HANDLERS=log,http://"+closed+secretPath))
	require.Equal(t, 1, code)
	require.Equal(t, "kwatchman: check found 3 problems\n", stderr)
	require.Regexp(t, `(?m)^resource .*PROBLEM: KW_RESOURCES: unknown resource "deploymnts": did you mean deployments\?$`, stdout)
	require.Regexp(t, `(?m)^resource +configmaps v1 .*PROBLEM: may not watch: add the rule \{apiGroups: \[""\], resources: \["configmaps"\], verbs: \["list", "watch"\]\}$`, stdout)
	require.Regexp(t, `(?m)^handler +2 http://127.0.0.1:\d+ +remote +PROBLEM: not reachable: .*refused`, stdout)
	require.NotContains(t, stdout, "very-secret-token")
}

func TestCheckOfAnUnreachableClusterStillChecksTheHandlers(t *testing.T) {
	sink := recordRaw(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, []byte(`{"apiVersion":"v1","kind":"Config","current-context":"x",
"clusters":[{"name":"x","cluster":{"server":"http://127.0.0.1:1"}}],"users":[],"contexts":[{"name":"x","context":{"cluster":"x"}}]}`), 0o600))
	code, stdout, stderr := runToEnd(t, "kwatchman", []string{"check", "-k", kubeconfig}, []string{"KW_HANDLERS=" + sink.URL})
	require.Equal(t, 1, code)
	require.Equal(t, "kwatchman: check found 1 problem\n", stderr)
	require.Regexp(t, `(?m)^cluster .*PROBLEM: the API server at 127.0.0.1:1 cannot be reached: .*refused$`, stdout)
	require.Regexp(t, `(?m)^handler +1 http.* ok$`, stdout)
}

func TestEachSubcommandHelpsOnAScreen(t *testing.T) {
	for _, args := range [][]string{{"check", "--help"}, {"conform", "-h"}, {"send", "-h"}, {"explain", "-h"}, {"replay", "-h"}, {"rbac", "-h"}, {"version", "-h"}, {"completion", "--help"}, {"completion", "bash", "-h"}} {
		code, stdout, stderr := runToEnd(t, "kwatchman", args, nil)
		require.Equal(t, 0, code)
		require.Empty(t, stderr)
		require.NotEmpty(t, stdout)
		require.LessOrEqual(t, strings.Count(stdout, "\n"), 40, args)
	}
	code, stdout, _ := runToEnd(t, "kwatchman", []string{"version"}, nil)
	require.Equal(t, 0, code)
	require.Equal(t, "kwatchman dev\n", stdout)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		code, stdout, _ = runToEnd(t, "kwatchman", []string{"completion", shell}, nil)
		require.Equal(t, 0, code)
		require.Contains(t, stdout, "kwatchman")
	}
}

// ids are those of events, which never repeat.
func ids(t *testing.T, events []event.Event) []string {
	t.Helper()
	var out []string
	for _, e := range events {
		out = append(out, e.ID)
	}
	sorted := slices.Sorted(slices.Values(out))
	require.Len(t, slices.Compact(sorted), len(out), "an event repeats: %s", strings.Join(out, ", "))
	return out
}

// As in any pipeline: kwatchman | head ends.
func TestTheEndOfWhoReadsItsOutputEndsKwatchman(t *testing.T) {
	c := newCluster(t)
	p := c.startAllInOne([]string{"-n", c.namespace}, "KW_RESOURCES=cm", "KW_HANDLERS=log")
	require.NoError(t, p.closeStdout())
	c.create(configMaps, configMap("unread", nil))
	require.Equal(t, -1, p.wait(), "by a signal")
	require.Equal(t, syscall.SIGPIPE, p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
}
