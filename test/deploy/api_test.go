package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

const (
	kubeconfigEnv = "KWATCHMAN_TEST_KUBECONFIG"
	kubectlEnv    = "KWATCHMAN_TEST_KUBECTL"
	patience      = 30 * time.Second
)

// server is a real API server. It is one of its own: what is installed here is
// not what other tests expect to see.
type server struct {
	t          *testing.T
	kubeconfig string
	config     *rest.Config
	client     dynamic.Interface
}

func newServer(t *testing.T) *server {
	t.Helper()
	kubeconfig := os.Getenv(kubeconfigEnv)
	if kubeconfig == "" || os.Getenv(kubectlEnv) == "" {
		t.Skip("needs an API server of its own and kubectl: make test runs it with those after all others")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	require.NoError(t, err)
	cfg.QPS, cfg.WarningHandler = -1, rest.NoWarnings{}
	client, err := dynamic.NewForConfig(cfg)
	require.NoError(t, err)
	return &server{t: t, kubeconfig: kubeconfig, config: cfg, client: client}
}

// get reads one document of discovery.
func (s *server) get(path string, into any) error {
	client, err := rest.HTTPClientFor(s.config)
	if err != nil {
		return err
	}
	resp, err := client.Get(s.config.Host + path)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// resources lists what is served of a version.
func (s *server) resources(gv schema.GroupVersion) ([]metav1.APIResource, error) {
	path := "/apis/" + gv.String()
	if gv.Group == "" {
		path = "/api/" + gv.Version
	}
	var list metav1.APIResourceList
	err := s.get(path, &list)
	return list.APIResources, err
}

// of finds the resource of a kind.
func (s *server) of(kind schema.GroupVersionKind) (schema.GroupVersionResource, error) {
	all, err := s.resources(kind.GroupVersion())
	if err != nil {
		return schema.GroupVersionResource{}, err
	}
	for _, r := range all {
		if r.Kind == kind.Kind && !strings.Contains(r.Name, "/") {
			return kind.GroupVersion().WithResource(r.Name), nil
		}
	}
	return schema.GroupVersionResource{}, fmt.Errorf("%s is not served", kind)
}

// apply is server-side apply with strict validation.
func (s *server) apply(o *unstructured.Unstructured, options metav1.PatchOptions) error {
	resource, err := s.of(o.GroupVersionKind())
	if err != nil {
		return err
	}
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	options.FieldManager, options.FieldValidation, options.Force = "test", metav1.FieldValidationStrict, new(true)
	_, err = s.client.Resource(resource).Namespace(o.GetNamespace()).Patch(context.Background(), o.GetName(), types.ApplyPatchType, data, options)
	return err
}

func (s *server) namespace(name string, labels map[string]any) {
	s.t.Helper()
	require.NoError(s.t, s.apply(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name, "labels": labels},
	}}, metav1.PatchOptions{}))
}

// install applies the CRDs of a folder and waits until they are served.
func (s *server) install(folder string) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	require.NoError(s.t, err)
	require.NotEmpty(s.t, files)
	var kinds []schema.GroupVersionKind
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(s.t, err)
		for _, o := range objects(s.t, string(text)) {
			if o.GetKind() != "CustomResourceDefinition" {
				continue
			}
			// Knative's own webhook, which converts, is not here.
			unstructured.RemoveNestedField(o.Object, "spec", "conversion")
			require.NoError(s.t, s.apply(o, metav1.PatchOptions{}), file)
			group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
			kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
			versions, _, _ := unstructured.NestedSlice(o.Object, "spec", "versions")
			for _, v := range versions {
				if version := v.(map[string]any); version["served"] == true {
					kinds = append(kinds, schema.GroupVersionKind{Group: group, Version: version["name"].(string), Kind: kind})
				}
			}
		}
	}
	for _, kind := range kinds {
		require.Eventually(s.t, func() bool {
			_, err := s.of(kind)
			return err == nil
		}, patience, 100*time.Millisecond, "%s is not served", kind)
	}
}

// knative is where its CRDs are, which are not part of the repository.
func knative(t *testing.T) string {
	t.Helper()
	folder := "../../../shared/crds"
	if _, err := os.Stat(folder); err != nil {
		t.Skip("the CRDs of Knative are not here: they are read from shared/crds beside the checkout")
	}
	return folder
}

// monitoring is the folder of the Prometheus Operator's CRDs, in its Go module.
func monitoring(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("go", "mod", "download", "-json", "github.com/prometheus-operator/prometheus-operator@v0.85.0")
	cmd.Dir, cmd.Stdout = t.TempDir(), &out
	var module struct{ Dir string }
	if err := cmd.Run(); err != nil || json.Unmarshal(out.Bytes(), &module) != nil || module.Dir == "" {
		t.Skip("the module of the Prometheus Operator is out of reach: ", err)
	}
	// Of all its CRDs one is needed.
	folder := t.TempDir()
	text, err := os.ReadFile(filepath.Join(module.Dir, "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "servicemonitors.yaml"), text, 0o600))
	return folder
}

func TestTheAPIServerAcceptsEveryManifest(t *testing.T) {
	s := newServer(t)
	for _, mode := range modes {
		for _, values := range []string{"", "everything", "scoped"} {
			t.Run(strings.TrimSpace(mode+" "+values), func(t *testing.T) {
				s := &server{t: t, config: s.config, client: s.client}
				if mode == "knative" {
					s.install(knative(t))
				}
				args := []string{"--set", "mode=" + mode}
				if values == "everything" {
					s.install(monitoring(t))
				}
				if values != "" {
					args = append(args, "--values", "testdata/"+values+".yaml")
				}
				for _, namespace := range []string{"kwatchman", "shop", "web", "tools"} {
					s.namespace(namespace, nil)
				}
				all := objects(t, render(t, args...))
				require.NotEmpty(t, all)
				for _, o := range all {
					if o.GetKind() == "Pod" { // helm test's; who would admit it is not here
						continue
					}
					assert.NoError(t, s.apply(o, metav1.PatchOptions{}), "%s %s", o.GetKind(), o.GetName())
				}
			})
		}
	}
}

// podsOf are Pods as the controllers would make them.
func podsOf(o *unstructured.Unstructured, namespace string) *unstructured.Unstructured {
	template, found, _ := unstructured.NestedMap(o.Object, "spec", "template")
	if o.GetKind() == "Pod" {
		template, found = map[string]any{"spec": o.Object["spec"]}, true
	}
	if !found || (o.GetKind() != "Deployment" && o.GetKind() != "Pod") {
		return nil
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
		"metadata": map[string]any{"name": o.GetName(), "namespace": namespace},
	}}
}

func TestPodsAreRestricted(t *testing.T) {
	s := newServer(t)
	const namespace = "restricted"
	s.namespace(namespace, map[string]any{"pod-security.kubernetes.io/enforce": "restricted"})
	for _, name := range []string{"default", "kwatchman"} {
		require.NoError(t, s.apply(&unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ServiceAccount", "metadata": map[string]any{"name": name, "namespace": namespace},
		}}, metav1.PatchOptions{}))
	}
	pods := 0
	for _, mode := range modes {
		for _, values := range []string{"testdata/everything.yaml", "testdata/scoped.yaml"} {
			for _, o := range objects(t, render(t, "--set", "mode="+mode, "--values", values)) {
				if pod := podsOf(o, namespace); pod != nil {
					pods++
					assert.NoError(t, s.apply(pod, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}), "%s %s", mode, pod.GetName())
				}
			}
		}
	}
	assert.Greater(t, pods, 20)

	// The check can fail.
	bad := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "bad", "namespace": namespace},
		"spec": map[string]any{"containers": []any{map[string]any{"name": "a", "image": "a"}}},
	}}
	assert.ErrorContains(t, s.apply(bad, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}), `violates PodSecurity "restricted`)
}

func TestKubectlAppliesTheFolders(t *testing.T) {
	s := newServer(t)
	for _, folder := range []string{"plain/sidecar", "plain/services", "knative"} {
		t.Run(folder, func(t *testing.T) {
			if folder == "knative" {
				s.install(knative(t))
			}
			out, err := exec.Command(os.Getenv(kubectlEnv), "--kubeconfig", s.kubeconfig, "apply", "-k", filepath.Join("../../deploy", folder),
				"--server-side", "--force-conflicts", "--validate=strict").CombinedOutput()
			require.NoError(t, err, string(out))
			assert.Contains(t, string(out), "deployment.apps/kwatchman serverside-applied")
			assert.Contains(t, string(out), "clusterrole.rbac.authorization.k8s.io/kwatchman serverside-applied")
		})
	}
}

// served is what the chart's list holds, as the API server has it.
func TestTheChartKnowsTheResourcesOfTheAPIServer(t *testing.T) {
	s := newServer(t)
	type resource struct {
		Names   []string `json:"names"`
		Cluster bool     `json:"cluster"`
	}
	text, err := os.ReadFile(filepath.Join(chart, "files/resources.yaml"))
	require.NoError(t, err)
	var listed map[string][]resource
	require.NoError(t, yaml.UnmarshalStrict(text, &listed))
	known := map[string]resource{}
	for group, resources := range listed {
		for _, r := range resources {
			known[group+"/"+r.Names[0]] = r
		}
	}
	var groups metav1.APIGroupList
	require.NoError(t, s.get("/apis", &groups))
	versions := []schema.GroupVersion{{Version: "v1"}}
	for _, g := range groups.Groups {
		// Other tests install these.
		if !strings.Contains(g.Name, ".knative.dev") && g.Name != "monitoring.coreos.com" {
			versions = append(versions, schema.GroupVersion{Group: g.Name, Version: g.PreferredVersion.Version})
		}
	}
	var missing []string
	for _, gv := range versions {
		all, err := s.resources(gv)
		require.NoError(t, err)
		group := gv.Group
		if group == "" {
			group = "core"
		}
		for _, r := range all {
			if strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "list") || !slices.Contains(r.Verbs, "watch") {
				continue
			}
			at := group + "/" + r.Name
			mine, ok := known[at]
			delete(known, at)
			if !ok {
				missing = append(missing, at)
				continue
			}
			assert.Equal(t, r.Namespaced, !mine.Cluster, at)
			assert.Subset(t, mine.Names, append([]string{r.SingularName, strings.ToLower(r.Kind)}, r.ShortNames...), at)
		}
	}
	assert.Empty(t, missing, "served, but not in files/resources.yaml")
	assert.Empty(t, slices.Sorted(maps.Keys(known)), "in files/resources.yaml, but not served")
}

// rulesOf is what roles allow, as lines of kind, namespace, group, resource.
func rulesOf(t *testing.T, manifests string) []string {
	t.Helper()
	var out []string
	for _, o := range objects(t, manifests) {
		if o.GetKind() != "Role" && o.GetKind() != "ClusterRole" {
			continue
		}
		rules, _, err := unstructured.NestedSlice(o.Object, "rules")
		require.NoError(t, err)
		for _, r := range rules {
			var rule struct{ APIGroups, Resources, Verbs, ResourceNames []string }
			text, err := json.Marshal(r)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(text, &rule))
			for _, g := range rule.APIGroups {
				for _, resource := range rule.Resources {
					slices.Sort(rule.Verbs)
					out = append(out, fmt.Sprint(o.GetKind(), " ", o.GetNamespace(), " ", g, "/", resource, rule.ResourceNames, rule.Verbs))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// What the chart allows is what the program says that it needs.
func TestTheChartsRolesAreThoseOfRBAC(t *testing.T) {
	s := newServer(t)
	binary := filepath.Join(t.TempDir(), "kwatchman")
	out, err := exec.Command("go", "build", "-o", binary, "../..").CombinedOutput()
	require.NoError(t, err, string(out))
	const list = "deploy,Secret,cm,ingresses.networking.k8s.io,hpa.v2.autoscaling,nodes,clusterroles,rolebindings.v1.rbac.authorization.k8s.io,events"
	for name, c := range map[string]struct{ values, env []string }{
		"default":    {nil, nil},
		"many":       {[]string{"resources={" + list + "}"}, []string{"KW_RESOURCES=" + list}},
		"namespaces": {[]string{"resources={" + list + "}", "namespaces={shop,tools}"}, []string{"KW_RESOURCES=" + list, "KW_NAMESPACE=shop,tools"}},
		"less one":   {[]string{"namespaces={shop,tools}", "excludeNamespaces={tools}"}, []string{"KW_NAMESPACE=shop,tools", "KW_EXCLUDE_NAMESPACES=tools"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"--set", "clusterName=test"}
			for _, v := range c.values {
				args = append(args, "--set", v)
			}
			cmd := exec.Command(binary, "rbac", "-k", s.kubeconfig)
			cmd.Env = append(os.Environ(), append(c.env, "KW_CLUSTER_NAME=test", "KW_LEASE=kwatchman/kwatchman")...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			want, err := cmd.Output()
			require.NoError(t, err, stderr.String())
			assert.Equal(t, rulesOf(t, string(want)), rulesOf(t, render(t, args...)))
		})
	}
}
