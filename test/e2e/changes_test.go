package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// manager gives the name of the one field manager of an event.
func manager(t *testing.T, e event.Event) string {
	t.Helper()
	require.Len(t, e.ChangedBy, 1, "%s", e.ID)
	return e.ChangedBy[0].Manager
}

func TestEachChangeOfADeploymentTravelsThroughDiffAndLog(t *testing.T) {
	c := newCluster(t)
	diff, _ := startFunction(t, "diff")
	log, logProcess := startFunction(t, "log")
	sink := record(t, nil)
	w := c.startWatcher("KW_HANDLERS="+diff+","+log+","+sink.URL, "KW_RESOURCES=deploy")

	created := c.create(deployments, deployment("web", "nginx:1.27"))
	sink.await(t, "web", 1)
	c.patch(deployments, "web", `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"nginx:1.28"}]}}}}`)
	sink.await(t, "web", 2)
	c.patch(deployments, "web", `{"status":{"observedGeneration":2}}`, "status")
	c.patch(deployments, "web", `{"metadata":{"labels":{"team":"shop"}}}`)
	sink.await(t, "web", 3)
	c.delete(deployments, "web")
	events := sink.await(t, "web", 4)

	require.Equal(t, []event.Action{event.Add, event.Update, event.Update, event.Delete}, actions(events),
		"the status-only update stops at diff")
	require.Equal(t, 0, w.stop())
	require.Len(t, sink.got("web"), 4)
	require.Contains(t, w.stderr.String(), "status", "the reason of the stop is logged")

	add, image, label, gone := events[0], events[1], events[2], events[3]
	uid := string(created.GetUID())
	require.Equal(t, strings.ToLower(uid+"."+created.GetResourceVersion()+".add"), add.ID)
	require.Equal(t, "/clusters/test", add.Source)
	require.Equal(t, "/apis/apps/v1/namespaces/"+c.namespace+"/deployments/web", add.Subject)
	require.Equal(t, []string{"test", "apps/v1", "Deployment", c.namespace, event.ViaWatch},
		[]string{add.Cluster, add.APIVersion, add.Kind, add.Namespace, add.Via})
	require.Empty(t, add.OldObject)
	require.Equal(t, "e2e", manager(t, add))

	require.Equal(t, "e2e", manager(t, image))
	require.Contains(t, image.Payload.Text(), "-      - image: nginx:1.27\n+      - image: nginx:1.28\n")
	require.Contains(t, image.Diff.Summary, "image of app 1.27 → 1.28")
	require.Contains(t, string(image.Diff.Patch), `"nginx:1.28"`)
	require.NotContains(t, string(image.OldObject), "managedFields")

	require.Contains(t, label.Payload.Text(), "+    team: shop\n")
	require.NotContains(t, label.Payload.Text(), "status")

	require.Empty(t, gone.Object)
	require.Empty(t, gone.ChangedBy)
	var old struct {
		Metadata struct{ ResourceVersion string }
	}
	require.NoError(t, json.Unmarshal(gone.OldObject, &old))
	require.Equal(t, strings.ToLower(uid+"."+old.Metadata.ResourceVersion+".delete"), gone.ID)

	require.Equal(t, 0, logProcess.stop())
	lines := strings.Split(logProcess.stdout.String(), "\n")
	require.Len(t, lines, 4, "one line an event")
	for i, l := range lines {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(l), &m), "line %d is JSON", i)
		require.Equal(t, "web", m["k8s.deployment.name"])
	}
}

func TestAConfigMapsDataAndAClusterScopedObjectShow(t *testing.T) {
	c := newCluster(t)
	diff, _ := startFunction(t, "diff")
	sink := record(t, nil)
	c.startWatcher("KW_HANDLERS="+diff+","+sink.URL, "KW_RESOURCES=cm,clusterroles", "KW_LABEL_SELECTOR=test="+c.namespace)

	cm := configMap("settings", map[string]any{"app.conf": "colour = red\nsize = 1\nshape = round\n"})
	cm.SetLabels(map[string]string{"test": c.namespace})
	c.create(configMaps, cm)
	sink.await(t, "settings", 1)
	c.patch(configMaps, "settings", `{"data":{"app.conf":"colour = red\nsize = 2\nshape = round\n"}}`)
	edit := sink.await(t, "settings", 2)[1]
	require.Contains(t, edit.Payload.Text(), "-    size = 1\n+    size = 2\n", "one line of the file shows as one line")
	require.Equal(t, "text/x-diff; charset=utf-8", edit.Payload.ContentType)

	name := "e2e:" + c.namespace
	role := object("rbac.authorization.k8s.io/v1", "ClusterRole", name, map[string]any{"rules": []any{}})
	role.SetLabels(map[string]string{"test": c.namespace})
	c.createIn("", clusterRole, role)
	e := sink.await(t, name, 1)[0]
	require.Empty(t, e.Namespace)
	require.Equal(t, "/apis/rbac.authorization.k8s.io/v1/clusterroles/"+name, e.Subject)
}

func TestARoleWithALineBreakInItsNameArrives(t *testing.T) {
	c := newCluster(t)
	diff, _ := startFunction(t, "diff")
	log, logProcess := startFunction(t, "log", "LOG_FORMAT=text")
	sink := record(t, nil)
	c.startWatcher("KW_HANDLERS="+diff+","+log+","+sink.URL, "KW_RESOURCES=Role")

	const name = "line\nbreak & Grüße"
	c.create(roles, object("rbac.authorization.k8s.io/v1", "Role", name, map[string]any{"rules": []any{
		map[string]any{"apiGroups": []any{""}, "resources": []any{"pods"}, "verbs": []any{"get"}},
	}}))
	e := sink.await(t, name, 1)[0]
	require.Equal(t, "/apis/rbac.authorization.k8s.io/v1/namespaces/"+c.namespace+
		"/roles/line%0Abreak%20&%20Gr%C3%BC%C3%9Fe", e.Subject)
	require.Contains(t, e.Payload.Text(), "+  - pods\n", "a Role's rules show")
	require.Contains(t, logProcess.stdout.String(), "Role")
}

func TestACustomResourceIsWatchedByAnyOfItsNames(t *testing.T) {
	c := newCluster(t)
	group := c.namespace + ".example.com" // one group a test
	crd := object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "crontabs."+group, map[string]any{"spec": map[string]any{
		"group": group, "scope": "Namespaced",
		"names": map[string]any{"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": []any{"ct"}},
		"versions": []any{map[string]any{
			"name": "v1", "served": true, "storage": true,
			"schema": map[string]any{"openAPIV3Schema": map[string]any{
				"type": "object", "x-kubernetes-preserve-unknown-fields": true,
			}},
		}},
	}})
	c.createIn("", crds, crd)
	t.Cleanup(func() { c.deleteCluster(crds, "crontabs."+group) })
	crontabs := crds
	crontabs.Group, crontabs.Version, crontabs.Resource = group, "v1", "crontabs"
	eventually(t, func() bool { return c.served(crontabs) }, "the CRD is not served")

	diff, _ := startFunction(t, "diff")
	sink := record(t, nil)
	c.startWatcher("KW_HANDLERS="+diff+","+sink.URL, "KW_RESOURCES=crontabs."+group+",CronTab."+group)
	c.create(crontabs, object(group+"/v1", "CronTab", "nightly", map[string]any{"schedule": "0 3 * * *", "big": int64(9007199254740993)}))
	c.patch(crontabs, "nightly", `{"schedule":"0 4 * * *"}`)
	events := sink.await(t, "nightly", 2)
	require.Equal(t, []event.Action{event.Add, event.Update}, actions(events), "named twice, sent once")
	require.Equal(t, group+"/v1", events[1].APIVersion)
	require.Contains(t, events[0].Payload.Text(), "9007199254740993")
	require.Contains(t, events[1].Payload.Text(), "-schedule: 0 3 * * *\n+schedule: 0 4 * * *\n")
}

func TestASecretsValuesNeverLeaveTheWatcher(t *testing.T) {
	c := newCluster(t)
	sink := recordRaw(t)
	diff, diffProcess := startFunction(t, "diff")
	log, logProcess := startFunction(t, "log")
	w := c.startWatcher("KW_HANDLERS="+diff+","+log+","+sink.URL, "KW_RESOURCES=secrets", "KW_LOG_LEVEL=debug")

	values := []string{"first-hunter2-value", "second-hunter3-value", "third, short"}
	secret := object("v1", "Secret", "db", map[string]any{"stringData": map[string]any{"password": values[0], "other": values[2]}})
	secret.SetAnnotations(map[string]string{
		"kubectl.kubernetes.io/last-applied-configuration": `{"stringData":{"password":"` + values[0] + `"}}`,
	})
	c.create(secrets, secret)
	c.patch(secrets, "db", `{"stringData":{"password":"`+values[1]+`"}}`)
	c.patch(secrets, "db", `{"metadata":{"labels":{"touched":"yes"}}}`)
	c.delete(secrets, "db")
	eventually(t, func() bool { return strings.Count(logProcess.stdout.String(), "\n") >= 3 }, "four lines")
	require.Equal(t, 0, w.stop())

	seen := map[string]string{
		"what the sink received": sink.String(), "watcher": w.stderr.String() + w.stdout.String(),
		"diff": diffProcess.stderr.String() + diffProcess.stdout.String(),
		"log":  logProcess.stderr.String() + logProcess.stdout.String(),
	}
	for place, text := range seen {
		for _, v := range values {
			require.NotContains(t, text, v, place)
			require.NotContains(t, text, base64.StdEncoding.EncodeToString([]byte(v)), place)
		}
	}
	require.Equal(t, 4, strings.Count(sink.String(), "POST / HTTP/1.1"))
	lines := strings.Split(logProcess.stdout.String(), "\n")
	require.Contains(t, lines[1], "redacted:", "the rotation shows as a change")
	require.Contains(t, lines[1], "password")
	require.NotContains(t, lines[2], "+  password", "an unchanged value is no change")
}

func TestObjectsThatExistAtTheStartAreNoEvents(t *testing.T) {
	c := newCluster(t)
	var creators sync.WaitGroup
	for worker := range 10 {
		creators.Go(func() {
			for i := range 50 {
				c.create(configMaps, configMap(fmt.Sprintf("old-%d-%d", worker, i), map[string]any{"n": "1"}))
			}
		})
	}
	creators.Wait()
	sink := record(t, nil)
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=configmaps")
	require.InEpsilon(t, 500, w.stderr.find("watching")["objects"], 0.001)
	c.patch(configMaps, "old-3-3", `{"data":{"n":"2"}}`)
	sink.await(t, "", 1)
	require.Equal(t, 0, w.stop())
	events := sink.got("")
	require.Len(t, events, 1, "the one change and nothing of the baseline")
	require.Equal(t, "old-3-3", events[0].Name)
	require.Contains(t, string(events[0].OldObject), `"n":"1"`, "the old object is known from the baseline")

	all := record(t, nil)
	c.startWatcher("KW_HANDLERS="+all.URL, "KW_RESOURCES=configmaps", "KW_INITIAL=emit")
	all.await(t, "", 500)
	require.Equal(t, event.Add, all.got("")[0].Action)
}

func TestQuickChangesOfOneObjectArriveInOrderWhileAnotherIsSlow(t *testing.T) {
	c := newCluster(t)
	release := make(chan struct{})
	sink := record(t, func(e event.Event) {
		if e.Name == "slow" {
			<-release
		}
	})
	t.Cleanup(sync.OnceFunc(func() { close(release) }))
	c.create(configMaps, configMap("slow", nil))
	c.create(configMaps, configMap("quick", map[string]any{"n": "0"}))
	c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=configmaps", "KW_TIMEOUT=10m")
	c.patch(configMaps, "slow", `{"data":{"n":"1"}}`)
	for i := 1; i <= 50; i++ {
		c.patch(configMaps, "quick", fmt.Sprintf(`{"data":{"n":"%d"}}`, i))
	}
	events := sink.await(t, "quick", 50)
	require.Empty(t, sink.got("slow"), "it is still held")
	require.Len(t, events, 50)
	for i, e := range events {
		var now, old struct{ Data struct{ N string } }
		require.NoError(t, json.Unmarshal(e.Object, &now))
		require.NoError(t, json.Unmarshal(e.OldObject, &old))
		require.Equal(t, fmt.Sprint(i+1), now.Data.N)
		require.Equal(t, fmt.Sprint(i), old.Data.N, "the old object is the one before")
	}
	require.WithinRange(t, events[49].Time, events[0].Time, time.Now())
}

func TestANameCreatedAnewIsADeleteAndAnAddInOrder(t *testing.T) {
	c := newCluster(t)
	sink := record(t, nil)
	c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=configmaps")
	for range 3 {
		c.create(configMaps, configMap("again", nil))
		c.delete(configMaps, "again")
	}
	events := sink.await(t, "again", 6)
	require.Equal(t, []event.Action{event.Add, event.Delete, event.Add, event.Delete, event.Add, event.Delete}, actions(events))
	require.NotEqual(t, events[0].ID, events[2].ID)
	require.Equal(t, events[0].PartitionKey, events[5].PartitionKey)
}
