package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

const namespace = "shop"

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "nginx:1.28", ports: [{containerPort: 80}]}
`

const configMap = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  app.conf: |
    currency = EUR
    checkout = enabled
    timeout = 5s
`

//nolint:gosec // a password of the demo
const secret = `
apiVersion: v1
kind: Secret
metadata: {name: database}
stringData: {password: first-password}
`

// step is one change, as a person would describe it.
type step struct {
	say      string
	resource schema.GroupVersionResource
	do       func(context.Context, dynamic.ResourceInterface) error
}

func steps() []step {
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	configMaps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	return []step{
		{"a Deployment is created", deployments, create(deployment)},
		{"it gets a new image", deployments, patch("web", types.JSONPatchType,
			`[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "nginx:1.29"}]`)},
		{"a ConfigMap is created", configMaps, create(configMap)},
		{"one line of its file is edited", configMaps, patch("settings", types.MergePatchType,
			`{"data": {"app.conf": "currency = EUR\ncheckout = disabled\ntimeout = 5s\n"}}`)},
		{"a Secret is created: its value stays in the watcher", secrets, create(secret)},
		{"the Secret is rotated: that it changed shows, the value does not", secrets, patch("database", types.MergePatchType,
			`{"stringData": {"password": "second-password"}}`)},
		{"only the status changes: nothing is said", deployments, patchStatus("web", `{"status": {"observedGeneration": 2}}`)},
		{"the Deployment is deleted", deployments, func(ctx context.Context, c dynamic.ResourceInterface) error {
			return c.Delete(ctx, "web", metav1.DeleteOptions{})
		}},
	}
}

// makeChanges walks the steps. The watcher looks at the namespace already,
// which may be created later.
func makeChanges(ctx context.Context, pause time.Duration) error {
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(), &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	ns := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace},
	}}
	namespaces := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	if _, err := namespaces.Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, s := range steps() {
		fmt.Printf("\n▶ %s\n", s.say)
		if err := s.do(ctx, client.Resource(s.resource).Namespace(namespace)); err != nil {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	fmt.Println("\nThat was the demo.")
	return nil
}

func create(manifest string) func(context.Context, dynamic.ResourceInterface) error {
	return func(ctx context.Context, c dynamic.ResourceInterface) error {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(manifest), &o.Object); err != nil {
			return err
		}
		_, err := c.Create(ctx, o, metav1.CreateOptions{FieldManager: "demo"})
		return err
	}
}

func patch(name string, kind types.PatchType, body string) func(context.Context, dynamic.ResourceInterface) error {
	return func(ctx context.Context, c dynamic.ResourceInterface) error {
		_, err := c.Patch(ctx, name, kind, []byte(body), metav1.PatchOptions{FieldManager: "demo"})
		return err
	}
}

func patchStatus(name, body string) func(context.Context, dynamic.ResourceInterface) error {
	return func(ctx context.Context, c dynamic.ResourceInterface) error {
		_, err := c.Patch(ctx, name, types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: "demo"}, "status")
		return err
	}
}
