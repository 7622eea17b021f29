package conform

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// Sample is a change of the Deployment shop/web as the watcher sends it: on
// Update its image and its replicas change, and with them the fields that
// Kubernetes writes on every update.
func Sample(action event.Action) event.Event {
	return object{
		group: "apps", version: "v1", resource: "deployments", kind: "Deployment",
		namespace: "shop", name: "web", uid: "0a4f5a2e-6c1d-4c57-9e0b-2f1f0f6f7c11",
		old: deployment("web:1.4.2", 2, 41017), new: deployment("web:1.5.0", 3, 41388),
		oldVersion: "41017", newVersion: "41388",
	}.event(action)
}

// SampleClusterScoped is a change of the ClusterRole view-metrics, which
// belongs to no namespace.
func SampleClusterScoped(action event.Action) event.Event {
	return object{
		group: "rbac.authorization.k8s.io", version: "v1", resource: "clusterroles", kind: "ClusterRole",
		name: "view-metrics", uid: "5d0f2c1a-1f0a-4c44-8d4e-6a1d9a0e7b22",
		old: role("ClusterRole", "", "view-metrics", 310, "get"), new: role("ClusterRole", "", "view-metrics", 377, "list"),
		oldVersion: "310", newVersion: "377",
	}.event(action)
}

// SampleOddName is a change of a Role whose name holds a line break, a space, a
// percent sign and letters beyond ASCII, all of which Kubernetes allows there.
func SampleOddName(action event.Action) event.Event {
	const name = "line\nbreak 100% größe"
	return object{
		group: "rbac.authorization.k8s.io", version: "v1", resource: "roles", kind: "Role",
		namespace: "shop", name: name, uid: "c2b1d7f4-90b3-4a6c-8f5e-3b7e5c1d9a33",
		old: role("Role", "shop", name, 501, "get"), new: role("Role", "shop", name, 502, "list"),
		oldVersion: "501", newVersion: "502",
	}.event(action)
}

// object is what the samples say of a Kubernetes object.
type object struct {
	group, version, resource, kind string
	namespace, name, uid           string
	old, new                       string // manifests
	oldVersion, newVersion         string
}

func (o object) event(action event.Action) event.Event {
	apiVersion, resourceVersion := o.version, o.newVersion
	if o.group != "" {
		apiVersion = o.group + "/" + o.version
	}
	change := event.Change{
		Action: action, Object: json.RawMessage(o.new), OldObject: json.RawMessage(o.old),
		ChangedBy: []event.Manager{{Manager: "kubectl-edit", Operation: "Update", Time: new(sampleTime())}},
	}
	switch action {
	case event.Add:
		change.OldObject = nil
	case event.Delete:
		change.Object, change.ChangedBy, resourceVersion = nil, []event.Manager{}, o.oldVersion
	}
	subject := event.NewSubject(o.group, o.version, o.resource, o.namespace, o.name)
	return event.Event{
		ID:      event.NewID(o.uid, resourceVersion, action),
		Source:  event.NewSource("prod-eu"),
		Subject: subject, PartitionKey: subject,
		Time:    sampleTime().Add(1500 * time.Millisecond),
		Cluster: "prod-eu", APIVersion: apiVersion, Kind: o.kind, Namespace: o.namespace, Name: o.name,
		Via:    event.ViaWatch,
		Change: change,
	}
}

func sampleTime() time.Time { return time.Date(2026, time.November, 22, 9, 30, 0, 0, time.UTC) }

func deployment(image string, replicas, resourceVersion int) string {
	return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{`+
		`"name":"web","namespace":"shop","uid":"0a4f5a2e-6c1d-4c57-9e0b-2f1f0f6f7c11",`+
		`"resourceVersion":"%[3]d","generation":%[2]d,"creationTimestamp":"2026-11-02T08:00:00Z",`+
		`"labels":{"app":"web"},"annotations":{"deployment.kubernetes.io/revision":"%[2]d","team":"checkout & <payments>"}},`+
		`"spec":{"replicas":%[2]d,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},`+
		`"spec":{"containers":[{"name":"web","image":%[1]q,"ports":[{"containerPort":8080,"protocol":"TCP"}]}]}}},`+
		`"status":{"replicas":%[2]d,"readyReplicas":%[2]d}}`, image, replicas, resourceVersion)
}

func role(kind, namespace, name string, resourceVersion int, verb string) string {
	meta := map[string]string{
		"name": name, "namespace": namespace, "resourceVersion": fmt.Sprint(resourceVersion),
		"creationTimestamp": "2026-11-02T08:00:00Z",
	}
	if namespace == "" {
		delete(meta, "namespace")
	}
	raw, _ := json.Marshal(map[string]any{ // strings always encode
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": meta,
		"rules": []any{map[string]any{"apiGroups": []string{""}, "resources": []string{"pods"}, "verbs": []string{verb}}},
	})
	return string(raw)
}
