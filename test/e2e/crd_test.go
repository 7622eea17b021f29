package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/event"
)

// crontabs is a custom resource of the test's own group.
type crontabs struct {
	*cluster
	group string
}

func (c crontabs) in(version string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: c.group, Version: version, Resource: "crontabs"}
}

// define creates or changes the CRD: served says which versions are.
func (c crontabs) define(served map[string]bool) {
	c.t.Helper()
	var versions []any
	for _, v := range []string{"v1", "v2"} {
		if _, ok := served[v]; ok {
			versions = append(versions, map[string]any{
				"name": v, "served": served[v], "storage": v == "v1",
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "x-kubernetes-preserve-unknown-fields": true,
				}},
			})
		}
	}
	crd := object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "crontabs."+c.group, map[string]any{"spec": map[string]any{
		"group": c.group, "scope": "Namespaced",
		"names":    map[string]any{"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList"},
		"versions": versions,
	}})
	_, err := c.client.Resource(crds).Apply(context.Background(), crd.GetName(), crd, metav1.ApplyOptions{FieldManager: "e2e", Force: true})
	require.NoError(c.t, err)
	for v, on := range served {
		eventually(c.t, func() bool { return c.served(c.in(v)) == on }, "version %s is served: %v", v, on)
	}
}

func (c crontabs) undefine() {
	c.t.Helper()
	require.NoError(c.t, c.client.Resource(crds).Delete(context.Background(), "crontabs."+c.group, metav1.DeleteOptions{}))
	eventually(c.t, func() bool {
		_, err := c.client.Resource(crds).Get(context.Background(), "crontabs."+c.group, metav1.GetOptions{})
		return err != nil
	}, "the CRD is gone")
}

func (c crontabs) tab(version, name, schedule string) *unstructured.Unstructured {
	return object(c.group+"/"+version, "CronTab", name, map[string]any{"schedule": schedule})
}

func (c crontabs) reschedule(version, name, schedule string) {
	c.t.Helper()
	c.patch(c.in(version), name, fmt.Sprintf(`{"schedule":%q}`, schedule))
}

// One watcher waits for the resource by name, the other one watches all.
func TestACustomResourceIsFollowedThroughItsWholeLife(t *testing.T) {
	base := newCluster(t)
	c := crontabs{base, base.namespace + ".example.com"}
	t.Cleanup(func() { c.deleteCluster(crds, "crontabs."+c.group) })
	named, all := record(t, nil), record(t, nil)
	byName := c.startAllInOne([]string{"-n", c.namespace}, "KW_RESOURCES=configmaps,crontabs."+c.group, "KW_HANDLERS=diff,"+named.URL)
	ofAll := c.startAllInOne([]string{"-n", c.namespace}, "KW_RESOURCES=*", "KW_HANDLERS=diff,"+all.URL)
	require.NotNil(t, byName.stderr.find("resource is not served, waiting for it"))
	both := func(name string, n int) (a, b []event.Event) {
		t.Helper()
		return named.await(t, name, n), all.await(t, name, n)
	}

	c.define(map[string]bool{"v1": true})
	c.create(c.in("v1"), c.tab("v1", "nightly", "0 1 * * *")) // before anybody can watch it
	for _, events := range pair(both("nightly", 1)) {
		require.Equal(t, event.Add, events[0].Action)
		require.Equal(t, c.group+"/v1", events[0].APIVersion)
		require.Equal(t, "e2e", manager(t, events[0]))
	}
	c.reschedule("v1", "nightly", "0 2 * * *")
	for _, events := range pair(both("nightly", 2)) {
		require.Contains(t, events[1].Payload.Text(), "-schedule: 0 1 * * *\n+schedule: 0 2 * * *\n")
		require.Equal(t, event.ViaWatch, events[1].Via)
	}

	c.define(map[string]bool{"v1": true, "v2": true})
	c.reschedule("v2", "nightly", "0 3 * * *")
	both("nightly", 3)

	c.define(map[string]bool{"v1": false, "v2": true})
	for _, p := range []*process{byName, ofAll} {
		p.await("served version changed")
		// Until it is listed in the new form, a change comes merged with that of the version.
		eventually(t, func() bool { return strings.Count(p.stderr.String(), `"msg":"watching","resource":"crontabs.`) == 2 }, "listed in the new form")
	}
	c.reschedule("v2", "nightly", "0 4 * * *")
	for _, events := range pair(both("nightly", 4)) {
		require.Equal(t, c.group+"/v2", events[3].APIVersion)
		require.Contains(t, events[3].Payload.Text(), "-schedule: 0 3 * * *\n+schedule: 0 4 * * *\n")
		require.NotContains(t, events[3].Payload.Text(), "-apiVersion", "both sides are of one version")
	}

	c.create(c.in("v2"), c.tab("v2", "weekly", "0 0 * * 0"))
	both("weekly", 1)
	c.undefine()
	for _, name := range []string{"nightly", "weekly"} {
		for _, events := range pair(both(name, map[string]int{"nightly": 5, "weekly": 2}[name])) {
			require.Equal(t, event.Delete, events[len(events)-1].Action)
		}
	}
	byName.await("resource is not served any more")
	ofAll.await("resource is not served any more")

	c.define(map[string]bool{"v1": true})
	c.create(c.in("v1"), c.tab("v1", "nightly", "0 5 * * *"))
	both("nightly", 6)
	c.create(configMaps, configMap("other", nil))
	both("other", 1)
	require.Equal(t, 0, byName.stop())
	require.Equal(t, 0, ofAll.stop())
	for _, sink := range []*recorder{named, all} {
		require.Equal(t, []event.Action{event.Add, event.Update, event.Update, event.Update, event.Delete, event.Add}, actions(sink.got("nightly")))
		require.Equal(t, []event.Action{event.Add, event.Delete}, actions(sink.got("weekly")))
		ids(t, sink.got(""))
	}
}

func pair(a, b []event.Event) [][]event.Event { return [][]event.Event{a, b} }

// Changes while no version can be watched arrive as their sum.
func TestChangesDuringAChangeOfVersionArrive(t *testing.T) {
	base := newCluster(t)
	c := crontabs{base, base.namespace + ".example.com"}
	t.Cleanup(func() { c.deleteCluster(crds, "crontabs."+c.group) })
	c.define(map[string]bool{"v1": true})
	for i := range 20 {
		c.create(c.in("v1"), c.tab("v1", fmt.Sprintf("tab-%d", i), "0 1 * * *"))
	}
	sink := record(t, nil)
	p := c.startAllInOne([]string{"-n", c.namespace}, "KW_RESOURCES=crontabs."+c.group, "KW_HANDLERS="+sink.URL)
	c.define(map[string]bool{"v1": false, "v2": true})
	for i := range 10 {
		c.reschedule("v2", fmt.Sprintf("tab-%d", i), "0 2 * * *")
	}
	c.delete(c.in("v2"), "tab-19")
	c.create(c.in("v2"), c.tab("v2", "late", "0 3 * * *"))
	sink.await(t, "late", 1)
	for i := range 10 {
		e := sink.await(t, fmt.Sprintf("tab-%d", i), 1)[0]
		require.Equal(t, event.Update, e.Action)
		require.Contains(t, string(e.Object), "0 2 * * *")
	}
	require.Equal(t, []event.Action{event.Delete}, actions(sink.await(t, "tab-19", 1)))
	require.Equal(t, 0, p.stop())
	require.Len(t, sink.got(""), 12, "nothing of what did not change")
	ids(t, sink.got(""))
}

// What may not be watched yet ends nothing: the log says what to add.
func TestALateResourceThatMayNotBeWatchedIsTriedAgain(t *testing.T) {
	base := newCluster(t)
	c := crontabs{base, base.namespace + ".example.com"}
	t.Cleanup(func() { c.deleteCluster(crds, "crontabs."+c.group) })
	kubeconfig := c.serviceAccount("only-configmaps", "list", "watch")
	permitted(t, kubeconfig, 0, "KW_RESOURCES=cm", "KW_NAMESPACE="+c.namespace)
	sink := record(t, nil)
	p := c.startAllInOne([]string{"-k", kubeconfig, "-n", c.namespace}, "KW_RESOURCES=cm,crontabs."+c.group, "KW_HANDLERS="+sink.URL)
	c.define(map[string]bool{"v1": true})
	p.await("watch fails, trying again")
	require.Contains(t, p.stderr.find("watch fails, trying again")["error"],
		`add to its Role in namespace `+c.namespace+` the rule {apiGroups: ["`+c.group+`"], resources: ["crontabs"], verbs: ["list", "watch"]} (kwatchman rbac`)
	c.create(configMaps, configMap("meanwhile", nil))
	sink.await(t, "meanwhile", 1)
	c.create(c.in("v1"), c.tab("v1", "nightly", "0 1 * * *"))

	code, stdout, stderr := runToEnd(t, "kwatchman", []string{"rbac", "-k", c.kubeconfig, "-n", c.namespace, "--service-account", "only-configmaps"},
		[]string{"KW_RESOURCES=cm,crontabs." + c.group})
	require.Equal(t, 0, code, stderr)
	c.apply(stdout)
	require.Equal(t, event.Add, sink.await(t, "nightly", 1)[0].Action)
	p.await("watching again")
	require.Equal(t, 0, p.stop())
}

// Whatever the reason, what cannot be asked for any more is told as deleted, and
// as added when it can.
func TestAResourceThatIsNotServedForAWhileEndsAndBeginsAnew(t *testing.T) {
	base := newCluster(t)
	c := crontabs{base, base.namespace + ".example.com"}
	t.Cleanup(func() { c.deleteCluster(crds, "crontabs."+c.group) })
	c.define(map[string]bool{"v1": true})
	c.create(c.in("v1"), c.tab("v1", "nightly", "0 1 * * *"))
	sink := record(t, nil)
	p := c.startAllInOne([]string{"-n", c.namespace}, "KW_RESOURCES=crontabs."+c.group, "KW_HANDLERS="+sink.URL)
	c.define(map[string]bool{"v1": false})
	gone := sink.await(t, "nightly", 1)[0]
	require.Equal(t, event.Delete, gone.Action)
	require.Equal(t, event.ViaRelist, gone.Via)
	c.define(map[string]bool{"v1": true})
	sink.await(t, "nightly", 2)
	require.Equal(t, 0, p.stop())
	require.Equal(t, []event.Action{event.Delete, event.Add}, actions(sink.got("nightly")))
}
