package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/event"
)

// kubectlEnv tells where kubectl is. The cluster beside it has a controller manager.
const kubectlEnv = "KWATCHMAN_TEST_KUBECTL"

// TestWhoIsWhatKubernetesRecords: changedBy is right or empty, never another.
func TestWhoIsWhatKubernetesRecords(t *testing.T) {
	kubectl := os.Getenv(kubectlEnv)
	if kubectl == "" {
		t.Skip("needs kubectl and a controller manager: make test has both")
	}
	all := newCluster(t)
	sink := record(t, nil)
	w := all.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=deployments,configmaps", "KW_NAMESPACE=")
	for _, row := range whoTable() {
		t.Run(strings.Join(strings.Fields(row.command), " "), func(t *testing.T) {
			c := newCluster(t)
			run := c.shell(filepath.Dir(kubectl))
			before := uint64(0)
			if row.given != "" {
				run(row.given)
				before = c.version(row.object)
			}
			run(row.command)
			var got []event.Manager
			eventually(t, func() bool {
				for _, e := range sink.in(c.namespace, row.object) {
					if version(t, e.Object) > before && differsAt(t, e, row.path) {
						got = e.ChangedBy
						return true
					}
				}
				return false
			}, "a change of %s", row.path)
			want, wrote := strings.CutSuffix(row.want, orNobody)
			if len(got) > 0 || !wrote {
				require.Equal(t, want, managers(got))
			}
		})
	}
	require.Equal(t, 0, w.stop())
}

// in gives the events of an object, kind/name, in a namespace.
func (r *recorder) in(namespace, object string) []event.Event {
	kind, name, _ := strings.Cut(object, "/")
	var out []event.Event
	for _, e := range r.got(name) {
		if e.Namespace == namespace && e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// version is the resourceVersion of kind/name now.
func (c *cluster) version(object string) uint64 {
	c.t.Helper()
	kind, name, _ := strings.Cut(object, "/")
	resource := map[string]schema.GroupVersionResource{"Deployment": deployments, "ConfigMap": configMaps}[kind]
	o, err := c.client.Resource(resource).Namespace(c.namespace).Get(c.t.Context(), name, metav1.GetOptions{})
	require.NoError(c.t, err)
	v, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	require.NoError(c.t, err)
	return v
}

func version(t *testing.T, manifest json.RawMessage) uint64 {
	t.Helper()
	var o struct {
		Metadata struct{ ResourceVersion string }
	}
	require.NoError(t, json.Unmarshal(manifest, &o))
	v, err := strconv.ParseUint(o.Metadata.ResourceVersion, 10, 64)
	require.NoError(t, err)
	return v
}

// differsAt tells whether the value at a path changed; no path is an Add.
func differsAt(t *testing.T, e event.Event, path string) bool {
	t.Helper()
	if path == "" || e.Action == event.Add {
		return path == "" && e.Action == event.Add
	}
	var values [2]any
	for i, raw := range []json.RawMessage{e.OldObject, e.Object} {
		var m map[string]any
		require.NoError(t, json.Unmarshal(raw, &m))
		values[i], _, _ = unstructured.NestedFieldNoCopy(m, strings.Split(path, ".")...)
	}
	return !reflect.DeepEqual(values[0], values[1])
}

func managers(by []event.Manager) string {
	var out []string
	for _, m := range by {
		out = append(out, strings.TrimSpace(m.Manager+" "+m.Operation+" "+m.Subresource))
	}
	return strings.Join(out, ", ")
}

// shell runs commands in the test's namespace and a folder with the manifests.
func (c *cluster) shell(path string) func(script string) {
	c.t.Helper()
	dir := c.t.TempDir()
	for name, text := range map[string]string{"web.yaml": whoManifests, "hpa.yaml": whoAutoscaler} {
		require.NoError(c.t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	raw, err := os.ReadFile(c.kubeconfig)
	require.NoError(c.t, err)
	kubeconfig := filepath.Join(dir, "kubeconfig")
	require.NoError(c.t, os.WriteFile(kubeconfig, raw, 0o600))
	run := func(script string) {
		c.t.Helper()
		cmd := exec.Command("/bin/sh", "-euc", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+path+string(os.PathListSeparator)+os.Getenv("PATH"), "KUBECONFIG="+kubeconfig, "HOME="+dir)
		out, err := cmd.CombinedOutput()
		require.NoError(c.t, err, "%s\n%s", script, out)
	}
	run("kubectl config set-context --current --namespace=" + c.namespace)
	return run
}
