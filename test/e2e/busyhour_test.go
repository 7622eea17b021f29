package e2e

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// edit is what a person does to an object, and the words by which its message
// is known, whatever form that has: kind, name, who, and what changed.
type edit struct {
	manager  string
	resource schema.GroupVersionResource
	kind     string
	name     string
	patch    string
	through  []string // a subresource
	says     []string
}

// edits are the twelve of the hour, in their order.
func edits() []edit {
	const template = `{"spec":{"template":{"spec":{"containers":[{"name":"app",`
	return []edit{
		{"kubectl", deployments, "Deployment", "payments", `{"spec":{"replicas":1}}`, []string{"scale"}, []string{"replicas 3 → 1"}},
		{"kubectl-edit", autoscalers, "HorizontalPodAutoscaler", "shrinker", `{"spec":{"maxReplicas":3}}`, nil, []string{"maxReplicas 8 → 3"}},
		{
			"kubectl-set", deployments, "Deployment", "storefront", template + `"image":"shop/storefront:1.5"}]}}}}`, nil,
			[]string{"shop/storefront:1.4", "shop/storefront:1.5"},
		},
		{
			"helm", daemonSets, "DaemonSet", "agent",
			template + `"image":"shop/agent:1.4","env":[{"name":"AGENT_MODE","value":"strict"}]}]}}}}`, nil,
			[]string{"AGENT_MODE", "strict"},
		},
		{
			"kubectl-client-side-apply", configMaps, "ConfigMap", "settings",
			`{"data":{"app.yaml":"server:\n  port: 8080\nlog:\n  level: debug\n"}}`, nil,
			[]string{"log.level", "app.yaml", "info → debug"},
		},
		{
			"kubectl-edit", ingresses, "Ingress", "entrance",
			`{"spec":{"rules":[{"host":"new.example.com","http":{"paths":[{"path":"/","pathType":"Prefix",
				"backend":{"service":{"name":"checkout","port":{"name":"http"}}}}]}}]}}`, nil,
			[]string{"shop.example.com", "new.example.com"},
		},
		{"kubectl-patch", services, "Service", "checkout", `{"spec":{"ports":[{"name":"http","port":8081,"targetPort":8080}]}}`, nil, []string{"80", "8081"}},
		{
			"argocd-controller", roles, "Role", "deployer",
			`{"rules":[{"apiGroups":["apps"],"resources":["deployments"],"verbs":["get","patch","delete"]}]}`, nil,
			[]string{"verbs", "delete"},
		},
		{"kubectl-label", statefulSets, "StatefulSet", "ledger", `{"metadata":{"labels":{"tier":"edge"}}}`, nil, []string{"label tier", "edge"}},
		{"kubectl-annotate", deployments, "Deployment", "reports", `{"metadata":{"annotations":{"contact":"billing"}}}`, nil, []string{"annotation contact", "billing"}},
		{"vault-rotate", secrets, "Secret", "credentials", `{"stringData":{"password":"second-password"}}`, nil, []string{"password", "redacted:"}},
		{"kubectl-edit", cronJobs, "CronJob", "nightly", `{"spec":{"schedule":"30 2 * * *"}}`, nil, []string{"schedule", "0 3 * * *", "30 2 * * *"}},
	}
}

// TestInABusyHourExactlyTheTwelveEditsByPeopleReachSlack: an hour of a real
// control plane's traffic, as fast as it goes.
//
// Two kwatchmen see it. One watches what an owner of a shop would name: what
// people write, with the Leases and the Nodes, to show that their heartbeats are
// held back. It is restarted in the middle. The other one watches * without the
// Adds and Deletes of what controllers make (here the Jobs of a CronJob). Neither
// watches Pods, ReplicaSets and Endpoints: who asks for them by name wants to see
// what a rollout does to them, and hears of the rollout itself anyway.
func TestInABusyHourExactlyTheTwelveEditsByPeopleReachSlack(t *testing.T) {
	c := newClusterWithControllers(t)
	stopKubelet := c.startKubelet()
	c.createShop()
	stateDir := t.TempDir()
	named := c.watchHour("diff,slack",
		"KW_RESOURCES=deployments,statefulsets,daemonsets,services,ingresses,configmaps,secrets,cronjobs,hpa,roles,rolebindings,leases,nodes",
		"KW_STATE_DIR="+stateDir)
	everything := c.watchHour("ignoreevents,diff,slack", "KW_RESOURCES=*", "IGNOREEVENTS_EVENTS=Add,Delete")

	m := machines{c}
	for n, e := range edits() {
		if n == 6 {
			named.stop()
		}
		done := make(chan error, 1)
		go func() { done <- m.round(n) }()
		require.NoError(t, c.patchAs(e.manager, e.resource, e.name, e.patch, e.through...))
		require.NoError(t, <-done)
		if n == 6 {
			named.restart()
		}
	}
	// The real HorizontalPodAutoscaler undoes one edit and follows another one.
	c.awaitReplicas("payments", 3)
	c.awaitReplicas("catalog", 3)
	c.awaitRest()
	stopKubelet()

	for _, h := range []*hour{named, everything} {
		h.finish()
		h.print()
		h.check(edits())
	}
	require.GreaterOrEqual(t, len(named.in.got("")), 500, "a busy hour")
	for _, why := range []string{"only status changed", "replicas by an autoscaler", "only leader election changed", "only checksum annotations changed"} {
		require.Positive(t, named.reasons()[why], why)
	}
}

func (c *cluster) awaitReplicas(name string, want int64) {
	c.t.Helper()
	eventually(c.t, func() bool {
		d, err := c.client.Resource(deployments).Namespace(c.namespace).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return false
		}
		got, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas")
		return got == want
	}, "%s gets %d replicas", name, want)
}
