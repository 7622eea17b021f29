package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/event"
)

// takeoverTime bounds what a leader takes that may not list what the one before
// watched: far below patience, and far above the seconds that it takes.
const takeoverTime = 20 * time.Second

var clusterRoleBinding = schema.GroupVersionResource{Group: clusterRole.Group, Version: clusterRole.Version, Resource: "clusterrolebindings"}

// smallerRole is a configuration, and a smaller one that the chart is upgraded to
// while the watchers run: first the roles change, then one watcher after the other.
type smallerRole struct {
	c             *cluster
	l             *ledger
	s             *sink
	kubeconfig    string
	before, after []string // settings
	first, second *process
}

// TestFaultTakeoverWithASmallerRole takes permissions away between two leaders, as
// an upgrade of the chart does whose configuration watches less.
func TestFaultTakeoverWithASmallerRole(t *testing.T) {
	faults(t)
	tests := map[string]struct {
		before, after []string
		dropped       string // of which nothing is taken over
		waiting       bool   // a change of it waits at the takeover
	}{
		"a resource fewer":                      {[]string{"KW_RESOURCES=cm,secrets"}, []string{"KW_RESOURCES=cm"}, "secrets", false},
		"a resource fewer, of which one waited": {[]string{"KW_RESOURCES=cm,secrets"}, []string{"KW_RESOURCES=cm"}, "secrets", true},
		"a namespace instead of all":            {[]string{"KW_RESOURCES=cm", "KW_NAMESPACE="}, []string{"KW_RESOURCES=cm", "KW_NAMESPACE=%s"}, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			const objects = 4
			r := newSmallerRole(t, tt.before, tt.after)
			r.l.createAll(t, objects)
			r.l.baseline()
			r.lead(t)
			r.l.updateAll(t, objects, 2*objects, 0)
			eventually(t, func() bool { return r.l.missing(r.s, false) == 0 }, "the first leader sends")
			if tt.waiting {
				r.secretWaits(t)
			}
			r.shrink(t)
			require.Equal(t, 0, r.first.stop())
			r.l.updateAll(t, objects, 2*objects, 0) // while nobody watches
			awaitFor(t, takeoverTime, func() bool { return r.l.missing(r.s, false) == 0 }, "what changed meanwhile arrives")
			r.l.updateAll(t, objects, 2*objects, 0)
			eventually(t, func() bool { return r.l.missing(r.s, false) == 0 }, "and what changes from then on")
			status, body := get(t, r.second.address("serving health")+"/healthz")
			require.Equal(t, http.StatusOK, status, body)
			r.judgeLog(t, tt.dropped, tt.waiting)
			require.Equal(t, 0, r.second.stop())
			judged(t, "role made smaller, leader stopped", name, r.l.judge(r.s.got(), false))
		})
	}
}

func newSmallerRole(t *testing.T, before, after []string) *smallerRole {
	t.Helper()
	c := newCluster(t)
	r := &smallerRole{c: c, l: newLedger(c), s: newSink(t, onlyConfigMaps(c.namespace, http.StatusNoContent))}
	env := func(settings []string) []string {
		out := []string{"KW_LEASE=" + c.namespace + "/watchers", "KW_CLUSTER_NAME=test", "KW_METRICS_ADDR=:0"}
		for _, s := range settings {
			out = append(out, strings.Replace(s, "%s", c.namespace, 1))
		}
		return out
	}
	r.before, r.after = env(before), env(after)
	r.role(t, r.before)
	r.kubeconfig = c.tokenOf("kw-" + c.namespace)
	return r
}

// onlyConfigMaps has a sink keep those of a namespace, answer with a status for its
// Secrets, and take everything else without keeping it.
func onlyConfigMaps(namespace string, secrets int) func(*sink, http.ResponseWriter, event.Event) bool {
	return func(s *sink, w http.ResponseWriter, e event.Event) bool {
		switch {
		case e.Namespace == namespace && e.Kind == "ConfigMap":
			return true
		case e.Namespace == namespace:
			return answerThat(secrets)(s, w, e)
		}
		return answerThat(http.StatusNoContent)(s, w, e)
	}
}

// role gives the ServiceAccount what a configuration needs, and gives what it made.
func (r *smallerRole) role(t *testing.T, settings []string) []*unstructured.Unstructured {
	t.Helper()
	account := r.c.namespace + "/kw-" + r.c.namespace
	code, text, stderr := runToEnd(t, "kwatchman", []string{"rbac", "--service-account", account, "-k", r.c.kubeconfig}, settings)
	require.Equal(t, 0, code, stderr)
	return r.c.apply(text)
}

func (r *smallerRole) watch(t *testing.T, settings []string) *process {
	t.Helper()
	return start(t, "watcher", append(slices.Clone(settings), "KW_KUBECONFIG="+r.kubeconfig, "KW_HANDLERS="+r.s.URL, "KW_LEASE_DURATION=5s")...)
}

// lead starts the first watcher and waits until its watermarks are in the Lease.
func (r *smallerRole) lead(t *testing.T) {
	t.Helper()
	permitted(t, r.kubeconfig, 0, r.before...)
	r.first = r.watch(t, r.before)
	r.first.await("ready")
	r.c.marked("c0")
}

// secretWaits makes a change of a Secret that the sink does not take.
func (r *smallerRole) secretWaits(t *testing.T) {
	t.Helper()
	r.s.mend(onlyConfigMaps(r.c.namespace, http.StatusServiceUnavailable))
	r.c.create(secrets, object("v1", "Secret", "waits", nil))
	eventually(t, func() bool { return r.first.stderr.find("step fails, trying again") != nil }, "it waits")
}

// shrink leaves the ServiceAccount with what the second configuration needs, and
// starts a watcher with that.
func (r *smallerRole) shrink(t *testing.T) {
	t.Helper()
	now := r.role(t, r.after)
	if !slices.ContainsFunc(now, func(o *unstructured.Unstructured) bool { return o.GetKind() == "ClusterRole" }) {
		for _, kind := range []schema.GroupVersionResource{clusterRoleBinding, clusterRole} {
			require.NoError(t, r.c.client.Resource(kind).Delete(context.Background(), "kw-"+r.c.namespace, metav1.DeleteOptions{}))
		}
	}
	permitted(t, r.kubeconfig, 0, r.after...)
	permitted(t, r.kubeconfig, 1, r.before...)
	r.second = r.watch(t, r.after)
	r.second.await("standing by")
}

// judgeLog looks at what the second watcher said: of what it does not take over one
// line, and an error only if a change of it waited.
func (r *smallerRole) judgeLog(t *testing.T, dropped string, waited bool) {
	t.Helper()
	var about, troubles []string
	for line := range strings.Lines(r.second.stderr.String()) {
		var l struct{ Level string }
		require.NoError(t, json.Unmarshal([]byte(line), &l), line)
		if dropped != "" && strings.Contains(line, dropped) {
			about = append(about, line)
		}
		if l.Level == "WARN" || l.Level == "ERROR" {
			troubles = append(troubles, line)
		}
	}
	text := strings.Join(troubles, "")
	require.LessOrEqual(t, len(troubles), 1, text)
	require.NotContains(t, text, "add to a ClusterRole", "nobody wants back what was just taken away")
	if dropped != "" {
		require.Len(t, about, 1, strings.Join(about, ""))
	}
	if waited {
		require.Contains(t, about[0], `"level":"ERROR"`)
		require.Contains(t, about[0], "not told", "a change that waited is lost, and that is said")
	}
}
