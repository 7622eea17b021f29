package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

const marksAnnotation = "kwatchman.dev/watermarks"

// leaseEnv lets watchers share a Lease of the test's namespace.
func (c *cluster) leaseEnv(sink string, more ...string) []string {
	return c.watcherEnv(append([]string{
		"KW_HANDLERS=" + sink, "KW_LEASE=" + c.namespace + "/watchers", "KW_LEASE_DURATION=5s", "KW_METRICS_ADDR=:0",
	}, more...)...)
}

type marks struct {
	Watches []struct{ Version string }
}

// watermarks are what the leader has left in the Lease.
func (c *cluster) watermarks() (text string, marks marks) {
	c.t.Helper()
	l, err := c.client.Resource(leases).Namespace(c.namespace).Get(context.Background(), "watchers", metav1.GetOptions{})
	require.NoError(c.t, err)
	text = l.GetAnnotations()[marksAnnotation]
	if text != "" {
		require.NoError(c.t, json.Unmarshal([]byte(text), &marks))
	}
	return text, marks
}

// marked waits until an object as it is now is below the watermark.
func (c *cluster) marked(name string) {
	c.t.Helper()
	o, err := c.client.Resource(configMaps).Namespace(c.namespace).Get(context.Background(), name, metav1.GetOptions{})
	require.NoError(c.t, err)
	eventually(c.t, func() bool {
		_, m := c.watermarks()
		return len(m.Watches) > 0 && !newer(o.GetResourceVersion(), m.Watches[0].Version)
	}, "%s is acknowledged", name)
}

// newer tells whether resourceVersion a comes after b.
func newer(a, b string) bool {
	c, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || c > 0
}

// has tells whether a change of an object has come.
func (s *sink) has(name, action string) bool {
	return slices.ContainsFunc(s.got(), func(a arrival) bool { return a.name == name && strings.HasSuffix(a.id, action) })
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func TestAWatcherThatStandsByTakesOverAtOnceWhenTheLeaderStops(t *testing.T) {
	t.Parallel() // most of it waits
	c := newCluster(t)
	s := newSink(t, nil)
	l := newLedger(c)
	l.createAll(t, 4)
	l.baseline()
	env := c.leaseEnv(s.URL, "KW_RESOURCES=cm")
	first := start(t, "watcher", env...)
	first.await("ready")
	second := start(t, "watcher", env...)
	second.await("standing by")
	status, body := get(t, second.address("serving health")+"/readyz")
	require.Equal(t, http.StatusOK, status, "a standby is ready to take over")
	require.Equal(t, "ok, standing by", body)
	require.Zero(t, scrape(t, second.address("serving health")+"/metrics")("kwatchman_leader"))
	require.Positive(t, scrape(t, first.address("serving health")+"/metrics")("kwatchman_leader"))
	l.updateAll(t, 4, 8, 0)
	eventually(t, func() bool { return l.missing(s, false) == 0 }, "the leader sends")
	require.Equal(t, 0, first.stop())
	l.updateAll(t, 4, 8, 0) // while nobody watches
	second.await("ready")
	l.updateAll(t, 4, 8, 0)
	eventually(t, func() bool { return l.missing(s, false) == 0 }, "everything arrives")
	metrics := scrape(t, second.address("serving health")+"/metrics")
	require.Positive(t, metrics("kwatchman_takeover_watches_total", "from", "watermark"))
	require.Zero(t, metrics("kwatchman_takeover_watches_total", "from", "baseline"))
	require.Equal(t, 0, second.stop())
	v := l.judge(s.got(), false)
	require.Zero(t, v.missing+v.disorder+v.wrongOld+v.invented, "%v", v.notes)
	require.Zero(t, v.duplicates, "it was stopped, and everything was acknowledged")
	epochs := map[string]bool{}
	for _, a := range s.got() {
		epochs[a.epoch] = true
	}
	require.Equal(t, map[string]bool{"0": true, "1": true}, epochs)
}

func TestOneWatcherWithALeaseLosesNothingOverACrashWithoutAVolume(t *testing.T) {
	t.Parallel() // most of it waits
	c := newCluster(t)
	s := newSink(t, nil)
	l := newLedger(c)
	l.createAll(t, 4)
	l.baseline()
	w := start(t, "watcher", c.leaseEnv(s.URL, "KW_RESOURCES=cm")...)
	w.await("ready")
	c.marked("c3")
	w.kill()
	l.updateAll(t, 4, 8, 0)
	require.NoError(t, l.delete("c0"))
	require.NoError(t, l.create("new"))
	w = start(t, "watcher", c.leaseEnv(s.URL, "KW_RESOURCES=cm")...)
	eventually(t, func() bool { return l.missing(s, false) == 0 }, "everything arrives")
	require.Equal(t, 0, w.stop())
	v := l.judge(s.got(), false)
	require.Zero(t, v.disorder+v.wrongOld+v.invented+v.duplicates, "%v", v.notes)
}

// TestATakeoverWithoutTheHistorySaysSo writes a version into the Lease that the
// API server does not have, as after a restore of its data.
func TestATakeoverWithoutTheHistorySaysSo(t *testing.T) {
	t.Parallel() // most of it waits
	for name, bad := range map[string]func(text, version string) string{
		"a version that is not": func(text, version string) string { return strings.ReplaceAll(text, version, "9"+version) },
		"broken watermarks":     func(string, string) string { return "broken" },
		"no watermarks":         func(string, string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			s := newSink(t, nil)
			c.create(configMaps, configMap("old", map[string]any{"n": "1"}))
			w := start(t, "watcher", c.leaseEnv(s.URL, "KW_RESOURCES=cm")...)
			w.await("ready")
			c.marked("old")
			require.Equal(t, 0, w.stop())
			text, marks := c.watermarks()
			patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{
				marksAnnotation: bad(text, marks.Watches[0].Version),
			}}})
			require.NoError(t, err)
			c.patch(leases, "watchers", string(patch))
			w = start(t, "watcher", c.leaseEnv(s.URL, "KW_RESOURCES=cm")...)
			w.await("ready")
			said := ""
			for _, line := range strings.Split(w.stderr.String(), "\n") {
				if strings.Contains(line, "cannot be read: some changes since then may be missing") {
					said = line
				}
			}
			require.Contains(t, said, `"level":"ERROR"`)
			require.Contains(t, said, `"comparedWith":"a baseline"`)
			c.patch(configMaps, "old", `{"data":{"n":"2"}}`)
			c.create(configMaps, configMap("new", nil))
			eventually(t, func() bool { // what is seconds old may be told as new, for clocks differ
				return s.has("old", ".update") && s.has("new", ".add")
			}, "it goes on")
			require.Positive(t, scrape(t, w.address("serving health")+"/metrics")("kwatchman_takeover_watches_total", "from", "baseline"))
			require.Equal(t, 0, w.stop())
		})
	}
}

func TestTheLeaseItselfIsNoChange(t *testing.T) {
	t.Parallel() // most of it waits
	c := newCluster(t)
	s := newSink(t, nil)
	for round := range 2 {
		w := start(t, "watcher", c.leaseEnv(s.URL, "KW_RESOURCES=leases,cm")...)
		w.await("ready")
		name := fmt.Sprint("seen-", round)
		c.create(leases, object("coordination.k8s.io/v1", "Lease", name, nil))
		eventually(t, func() bool { return len(s.got()) == 2*round+1 }, "another Lease is a change")
		c.create(configMaps, configMap(name, nil))
		eventually(t, func() bool { return len(s.got()) == 2*(round+1) }, "and so is a ConfigMap")
		c.marked(name)
		require.Equal(t, 0, w.stop())
	}
	for _, a := range s.got() {
		require.True(t, strings.HasPrefix(a.name, "seen-"), a.name)
	}
}

func TestAMissingRightToTheLeaseIsOneLineWithTheRule(t *testing.T) {
	t.Parallel() // most of it waits
	c := newCluster(t)
	account := c.namespace + "/kw-" + c.namespace
	env := []string{"KW_RESOURCES=cm", "KW_METRICS_ADDR=", "KW_CLUSTER_NAME=test", "KW_NAMESPACE=" + c.namespace}
	with := append(slices.Clone(env), "KW_LEASE="+c.namespace+"/watchers")
	code, without, stderr := runToEnd(t, "kwatchman", []string{"rbac", "--service-account", account, "-k", c.kubeconfig}, env)
	require.Equal(t, 0, code, stderr)
	require.NotContains(t, without, "leases")
	c.apply(without)
	kubeconfig := c.tokenOf("kw-" + c.namespace)
	permitted(t, kubeconfig, 0, env...)
	code, _, stderr = runToEnd(t, "kwatchman", []string{"-k", kubeconfig}, with)
	require.Equal(t, 1, code)
	require.Equal(t, 1, strings.Count(strings.TrimSpace(stderr), "\n")+1, stderr)
	require.Contains(t, stderr, "KW_LEASE: may not create and get and update leases.coordination.k8s.io: add to a Role in namespace "+c.namespace)
	permitted(t, kubeconfig, 1, with...)

	code, all, stderr := runToEnd(t, "kwatchman", []string{"rbac", "--service-account", account, "-k", c.kubeconfig}, with)
	require.Equal(t, 0, code, stderr)
	c.apply(all)
	permitted(t, kubeconfig, 0, with...)
	s := newSink(t, nil)
	w := startWith(t, "kwatchman", []string{"-k", kubeconfig}, append(with, "KW_HANDLERS="+s.URL)...)
	w.await("ready")
	c.create(configMaps, configMap("seen", nil))
	eventually(t, func() bool { return len(s.got()) == 1 }, "it sends")
	require.Equal(t, 0, w.stop())
	require.NotContains(t, w.stderr.String(), "WARN")
}

func TestAConfigurationThatChangesWhileAWatcherStandsByIsThatOfItsTerm(t *testing.T) {
	t.Parallel() // most of it waits
	c := newCluster(t)
	s := newSink(t, nil)
	file := newMounted(t, configText([]string{s.URL}, "configmap"))
	env := c.leaseEnv("", "KW_CONFIG_FILE="+file.path())
	env = slices.DeleteFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "KW_HANDLERS=") })
	first := start(t, "watcher", env...)
	first.await("ready")
	second := start(t, "watcher", env...)
	second.await("standing by")
	file.set("[[resource]]\nkind = 1")
	second.await(refusedIt)
	first.await(refusedIt)
	file.set(configText([]string{s.URL}, "configmap", "secret"))
	second.await("the configuration has changed")
	eventually(t, func() bool { return first.count("ready") == 2 }, "the leader goes over")
	first.kill()
	second.await("ready")
	c.create(secrets, object("v1", "Secret", "seen", nil))
	eventually(t, func() bool { return len(s.got()) == 1 }, "it watches what is new in the file")
	require.Equal(t, 0, second.stop())
}
