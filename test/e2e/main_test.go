// Package e2e runs the watcher and the functions as processes of their own
// against a real API server, which `make test` starts.
package e2e

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// kubeconfigEnv names the test cluster; the tests that need one are skipped
// without it.
const kubeconfigEnv = "KWATCHMAN_TEST_KUBECONFIG"

// patience is how long a test waits for what has to happen. Nothing passes
// because time went by: it only ends a test that has failed already.
const patience = 60 * time.Second

// binaries is the folder of the programs under test.
var binaries string

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run builds the programs, with the race detector as the tests themselves.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kwatchman-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binaries = dir
	packages := map[string]string{"watcher": "../../watcher/cmd", "kwatchman": "../.."}
	functions, err := filepath.Glob("../../functions/*/cmd")
	if err != nil || len(functions) == 0 {
		fmt.Fprintln(os.Stderr, "no functions found:", err)
		return 1
	}
	for _, f := range functions {
		packages[filepath.Base(filepath.Dir(f))] = f
	}
	build := func(name, pkg string, flags ...string) bool {
		out, err := exec.Command("go", slices.Concat([]string{"build"}, flags, []string{"-o", filepath.Join(dir, name), pkg})...).CombinedOutput()
		if err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
		}
		return err == nil
	}
	for name, pkg := range packages {
		if !build(name, pkg, "-race") {
			return 1
		}
	}
	// What is measured is measured without the race detector.
	if os.Getenv(faultsEnv)+os.Getenv(soakEnv) != "" {
		for name, pkg := range map[string]string{"plain": "watcher", "plain-diff": "diff"} {
			if !build(name, packages[pkg]) {
				return 1
			}
		}
	}
	defer printRows()
	return m.Run()
}

var (
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	roles       = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}
	clusterRole = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}
	crds        = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// cluster is the real API server as a test uses it: a client of the
// administrator and a namespace of the test's own.
type cluster struct {
	t          *testing.T
	kubeconfig string
	config     *rest.Config
	client     dynamic.Interface
	namespace  string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	kubeconfig := os.Getenv(kubeconfigEnv)
	if kubeconfig == "" {
		t.Skip("needs a Kubernetes API server: run it with make test, or set " + kubeconfigEnv)
	}
	return newClusterAt(t, kubeconfig)
}

func newClusterAt(t *testing.T, kubeconfig string) *cluster {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	require.NoError(t, err)
	cfg.QPS, cfg.WarningHandler = -1, rest.NoWarnings{} // the tests write deprecated kinds, too
	client, err := dynamic.NewForConfig(cfg)
	require.NoError(t, err)
	c := &cluster{t: t, kubeconfig: kubeconfig, config: cfg, client: client, namespace: "test-" + utilrand.String(8)}
	c.createIn("", namespaces, object("v1", "Namespace", c.namespace, nil))
	t.Cleanup(func() {
		_ = c.client.Resource(namespaces).Delete(context.Background(), c.namespace, metav1.DeleteOptions{})
	})
	return c
}

// object is a manifest of a kind with further top-level fields.
func object(apiVersion, kind, name string, fields map[string]any) *unstructured.Unstructured {
	m := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name}}
	for k, v := range fields {
		m[k] = v
	}
	return &unstructured.Unstructured{Object: m}
}

func deployment(name, image string) *unstructured.Unstructured {
	labels := map[string]any{"app": name}
	d := object("apps/v1", "Deployment", name, map[string]any{"spec": map[string]any{
		"replicas": int64(1),
		"selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{
			"metadata": map[string]any{"labels": labels},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "app", "image": image}}},
		},
	}})
	return d
}

func configMap(name string, data map[string]any) *unstructured.Unstructured {
	return object("v1", "ConfigMap", name, map[string]any{"data": data})
}

func (c *cluster) create(r schema.GroupVersionResource, o *unstructured.Unstructured) *unstructured.Unstructured {
	return c.createIn(c.namespace, r, o)
}

func (c *cluster) createIn(namespace string, r schema.GroupVersionResource, o *unstructured.Unstructured) *unstructured.Unstructured {
	c.t.Helper()
	out, err := c.client.Resource(r).Namespace(namespace).Create(context.Background(), o, metav1.CreateOptions{FieldManager: "e2e"})
	require.NoError(c.t, err)
	return out
}

// patch applies a JSON merge patch, as manager e2e.
func (c *cluster) patch(r schema.GroupVersionResource, name, patch string, subresources ...string) {
	c.t.Helper()
	_, err := c.client.Resource(r).Namespace(c.namespace).Patch(context.Background(), name,
		"application/merge-patch+json", []byte(patch), metav1.PatchOptions{FieldManager: "e2e"}, subresources...)
	require.NoError(c.t, err)
}

func (c *cluster) delete(r schema.GroupVersionResource, name string) {
	c.t.Helper()
	require.NoError(c.t, c.client.Resource(r).Namespace(c.namespace).Delete(context.Background(), name, metav1.DeleteOptions{}))
}

func (c *cluster) deleteCluster(r schema.GroupVersionResource, name string) {
	_ = c.client.Resource(r).Delete(context.Background(), name, metav1.DeleteOptions{})
}

// served tells whether a resource can be listed.
func (c *cluster) served(r schema.GroupVersionResource) bool {
	_, err := c.client.Resource(r).List(context.Background(), metav1.ListOptions{})
	return err == nil
}

// certificate is a test server's certificate as PEM.
func certificate(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

// eventually waits until ok holds.
func eventually(t *testing.T, ok func() bool, what string, args ...any) {
	t.Helper()
	require.Eventually(t, ok, patience, 20*time.Millisecond, "%s", fmt.Sprintf(what, args...))
}
