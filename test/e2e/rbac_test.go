package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kwatchman/kwatchman/event"
)

// apply does what kubectl apply does with the output of rbac.
func (c *cluster) apply(text string) []*unstructured.Unstructured {
	c.t.Helper()
	plurals := map[string]schema.GroupVersionResource{
		"ServiceAccount": {Version: "v1", Resource: "serviceaccounts"},
		"Role":           roles, "ClusterRole": clusterRole,
		"RoleBinding":        {Group: roles.Group, Version: "v1", Resource: "rolebindings"},
		"ClusterRoleBinding": {Group: roles.Group, Version: "v1", Resource: "clusterrolebindings"},
	}
	var out []*unstructured.Unstructured
	for document := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		require.NoError(c.t, yaml.Unmarshal([]byte(document), &o.Object))
		r, ok := plurals[o.GetKind()]
		require.True(c.t, ok, document)
		c.applyObject(r, o)
		out = append(out, o)
		if o.GetNamespace() == "" {
			c.t.Cleanup(func() { c.deleteCluster(r, o.GetName()) })
		}
	}
	return out
}

func (c *cluster) applyObject(r schema.GroupVersionResource, o *unstructured.Unstructured) {
	c.t.Helper()
	_, err := c.client.Resource(r).Namespace(o.GetNamespace()).Apply(context.Background(), o.GetName(), o,
		metav1.ApplyOptions{FieldManager: "e2e", Force: true})
	require.NoError(c.t, err)
}

// permitted waits until the API server's authorizer knows what is applied: it
// watches the roles.
func permitted(t *testing.T, kubeconfig string, want int, env ...string) {
	t.Helper()
	eventually(t, func() bool {
		code, _, _ := runToEnd(t, "kwatchman", []string{"check", "-k", kubeconfig}, env)
		return code == want
	}, "check gives %d", want)
}

// rules walks over each rule of the roles among manifests.
func rules(manifests []*unstructured.Unstructured, each func(role *unstructured.Unstructured, rule map[string]any)) {
	for _, o := range manifests {
		if strings.HasSuffix(o.GetKind(), "Role") {
			list, _, _ := unstructured.NestedSlice(o.Object, "rules")
			for i := range list {
				each(o, o.Object["rules"].([]any)[i].(map[string]any))
			}
		}
	}
}

func TestTheRoleThatRbacPrintsIsEnoughAndNothingOfItCanBeMissed(t *testing.T) {
	c := newCluster(t)
	account := c.namespace + "/kw-" + c.namespace
	for name, args := range map[string][]string{"ClusterRole": nil, "Roles": {"-n", c.namespace}} {
		t.Run(name, func(t *testing.T) {
			env := []string{"KW_RESOURCES=deploy,cm,nodes,secrets", "KW_METRICS_ADDR=", "KW_CLUSTER_NAME=test"}
			code, stdout, stderr := runToEnd(t, "kwatchman", append([]string{"rbac", "--service-account", account, "-k", c.kubeconfig}, args...), env)
			require.Equal(t, 0, code, stderr)
			manifests := c.apply(stdout)
			rules(manifests, func(role *unstructured.Unstructured, rule map[string]any) {
				require.Equal(t, []any{"list", "watch"}, rule["verbs"])
				require.NotContains(t, rule["resources"], "*")
				if role.GetKind() == "ClusterRole" && args != nil {
					require.Equal(t, []any{"nodes"}, rule["resources"], "what has no namespace")
				}
			})
			kubeconfig := c.tokenOf("kw-" + c.namespace)
			permitted(t, kubeconfig, 0, append(env, args2env(args)...)...)

			sink := record(t, nil)
			p := startWith(t, "kwatchman", append([]string{"-k", kubeconfig}, args...), append(env, "KW_HANDLERS="+sink.URL, "KW_LABEL_SELECTOR=test="+c.namespace)...)
			p.await("ready")
			cm := configMap("seen", nil)
			cm.SetLabels(map[string]string{"test": c.namespace})
			c.create(configMaps, cm)
			c.patch(configMaps, "seen", `{"data":{"n":"2"}}`)
			c.delete(configMaps, "seen")
			require.Equal(t, []event.Action{event.Add, event.Update, event.Delete}, actions(sink.await(t, "seen", 3)))
			require.Equal(t, 0, p.stop())
			require.NotContains(t, p.stderr.String(), "WARN")

			rules(manifests, func(role *unstructured.Unstructured, rule map[string]any) {
				r := roles
				if role.GetKind() == "ClusterRole" {
					r = clusterRole
				}
				for i, verb := range []string{"list", "watch"} {
					rule["verbs"] = []any{[]any{"watch"}, []any{"list"}}[i]
					c.applyObject(r, role)
					permitted(t, kubeconfig, 1, append(env, args2env(args)...)...)
					code, _, stderr := runToEnd(t, "kwatchman", append([]string{"-k", kubeconfig}, args...), env)
					require.Equal(t, 1, code)
					first := rule["resources"].([]any)[0].(string)
					require.Regexp(t, `^kwatchman: may not `+verb+` `+first+`.*: add to a (Cluster)?Role.* the rule .*"`+first+`".*\(kwatchman rbac prints the whole role\)\n$`, stderr)
				}
				rule["verbs"] = []any{"list", "watch"}
				c.applyObject(r, role)
				permitted(t, kubeconfig, 0, append(env, args2env(args)...)...)
			})
		})
	}
}

// args2env says with the environment what -n says.
func args2env(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	return []string{"KW_NAMESPACE=" + args[1]}
}

func TestRbacOfACustomResourceThatIsToComeAndOfAll(t *testing.T) {
	c := newCluster(t)
	run := func(env ...string) string {
		code, stdout, stderr := runToEnd(t, "kwatchman", []string{"rbac", "-k", c.kubeconfig}, env)
		require.Equal(t, 0, code, stderr)
		return stdout
	}
	later := run("KW_RESOURCES=deploy,CronTabs.stable.example.com")
	require.Contains(t, later, `- apiGroups: ["stable.example.com"]`+"\n  resources: [crontabs]\n")
	require.Contains(t, later, "not served yet")
	require.Contains(t, run("KW_RESOURCES=crontabs.v1.stable.example.com"), `- apiGroups: ["stable.example.com"]`+"\n  resources: [crontabs]\n")
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`resource:
- {kind: crontabs.stable.example.com, namespaces: [a], labelSelector: x=y}
- {kind: crontabs.stable.example.com, namespaces: [b, c]}
`), 0o600))
	inEach := run("KW_CONFIG_FILE="+path, "KW_EXCLUDE_NAMESPACES=c")
	require.Contains(t, inEach, "  namespace: a\nrules:")
	require.Contains(t, inEach, "  namespace: b\nrules:")
	require.NotContains(t, inEach, "namespace: c")
	all := run("KW_RESOURCES=*")
	require.Contains(t, all, "secrets")
	require.NotContains(t, all, "leases")
	require.NotContains(t, all, "*")
	namespaced := run("KW_RESOURCES=*", "KW_NAMESPACE=a,b")
	require.NotContains(t, namespaced, "ClusterRole", "what has no namespace is not part of all in some namespaces")
	require.Equal(t, 2, strings.Count(namespaced, "kind: RoleBinding\n"))
	require.Contains(t, namespaced, "kind: ServiceAccount\nmetadata:\n  name: kwatchman\n  namespace: a\n")
}
