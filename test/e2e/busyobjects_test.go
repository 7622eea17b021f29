package e2e

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	statefulSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}
	daemonSets   = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}
	services     = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	endpoints    = schema.GroupVersionResource{Version: "v1", Resource: "endpoints"}
	quotas       = schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}
	ingresses    = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}
	cronJobs     = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}
	jobs         = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
	autoscalers  = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}
	bindings     = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}
	budgets      = schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}
	leases       = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
)

// createShop makes what the busy hour happens to, and waits until the
// controllers have come to rest.
func (c *cluster) createShop() {
	c.t.Helper()
	for name, replicas := range map[string]int64{
		"storefront": 2, "payments": 3, "catalog": 5, "worker": 2, "resolver": 2, "reports": 1,
	} {
		d := deployment(name, "shop/"+name+":1.4")
		_ = unstructured.SetNestedField(d.Object, replicas, "spec", "replicas")
		c.create(deployments, d)
	}
	c.create(autoscalers, autoscaler("elastic", "storefront", 2, 9))
	c.create(autoscalers, autoscaler("keeper", "payments", 3, 6))
	c.create(autoscalers, autoscaler("shrinker", "catalog", 1, 8))
	c.create(statefulSets, workload("StatefulSet", "ledger", map[string]any{"replicas": int64(2), "serviceName": "ledger"}))
	c.create(daemonSets, workload("DaemonSet", "agent", nil))
	c.create(configMaps, configMap("settings", map[string]any{"app.yaml": "server:\n  port: 8080\nlog:\n  level: info\n"}))
	c.create(configMaps, configMap("bundle", map[string]any{"ca.crt": "none"}))
	c.create(configMaps, configMap("leader", nil))
	c.create(endpoints, object("v1", "Endpoints", "leader", nil))
	for _, name := range []string{"operator", "scheduler"} {
		c.create(leases, object("coordination.k8s.io/v1", "Lease", name, map[string]any{
			"spec": map[string]any{"holderIdentity": name + "-1", "leaseDurationSeconds": int64(15)},
		}))
	}
	c.create(services, service("checkout", "ClusterIP"))
	c.create(services, service("edge", "LoadBalancer"))
	c.create(ingresses, object("networking.k8s.io/v1", "Ingress", "entrance", map[string]any{"spec": map[string]any{
		"rules": []any{ingressRule("shop.example.com")},
	}}))
	c.create(secrets, object("v1", "Secret", "credentials", map[string]any{"stringData": map[string]any{"password": "first-password"}}))
	c.create(roles, object("rbac.authorization.k8s.io/v1", "Role", "deployer", map[string]any{"rules": []any{map[string]any{
		"apiGroups": []any{"apps"}, "resources": []any{"deployments"}, "verbs": []any{"get", "patch"},
	}}}))
	c.create(bindings, object("rbac.authorization.k8s.io/v1", "RoleBinding", "deployer-binding", map[string]any{
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": "default"}},
	}))
	c.create(quotas, object("v1", "ResourceQuota", "quota", map[string]any{"spec": map[string]any{"hard": map[string]any{"pods": "500"}}}))
	c.create(budgets, object("policy/v1", "PodDisruptionBudget", "budget", map[string]any{"spec": map[string]any{
		"minAvailable": int64(1), "selector": map[string]any{"matchLabels": map[string]any{"app": "storefront"}},
	}}))
	c.create(cronJobs, object("batch/v1", "CronJob", "nightly", map[string]any{"spec": map[string]any{
		"schedule": "0 3 * * *", "jobTemplate": map[string]any{"spec": jobSpec()},
	}}))
	c.awaitRest()
}

func workload(kind, name string, spec map[string]any) *unstructured.Unstructured {
	d := deployment(name, "shop/"+name+":1.4")
	template, _, _ := unstructured.NestedMap(d.Object, "spec", "template")
	selector, _, _ := unstructured.NestedMap(d.Object, "spec", "selector")
	out := map[string]any{"template": template, "selector": selector}
	for k, v := range spec {
		out[k] = v
	}
	return object("apps/v1", kind, name, map[string]any{"spec": out})
}

func autoscaler(name, target string, lowest, highest int64) *unstructured.Unstructured {
	return object("autoscaling/v2", "HorizontalPodAutoscaler", name, map[string]any{"spec": map[string]any{
		"scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
		"minReplicas":    lowest, "maxReplicas": highest,
	}})
}

func service(name, kind string) *unstructured.Unstructured {
	return object("v1", "Service", name, map[string]any{"spec": map[string]any{
		"type": kind, "selector": map[string]any{"app": "storefront"},
		"ports": []any{map[string]any{"name": "http", "port": int64(80), "targetPort": int64(8080)}},
	}})
}

func ingressRule(host string) map[string]any {
	return map[string]any{"host": host, "http": map[string]any{"paths": []any{map[string]any{
		"path": "/", "pathType": "Prefix",
		"backend": map[string]any{"service": map[string]any{"name": "checkout", "port": map[string]any{"name": "http"}}},
	}}}}
}

func jobSpec() map[string]any {
	return map[string]any{"template": map[string]any{"spec": map[string]any{
		"restartPolicy": "Never",
		"containers":    []any{map[string]any{"name": "job", "image": "shop/job:1"}},
	}}}
}

// awaitRest waits until every rollout is through and the node is in use.
func (c *cluster) awaitRest() {
	c.t.Helper()
	for _, r := range []schema.GroupVersionResource{deployments, statefulSets, daemonSets} {
		eventually(c.t, func() bool {
			all, err := c.client.Resource(r).Namespace(c.namespace).List(context.Background(), metav1.ListOptions{})
			if err != nil || len(all.Items) == 0 {
				return false
			}
			for i := range all.Items {
				if !rolledOut(&all.Items[i]) {
					return false
				}
			}
			return true
		}, "%s come to rest", r.Resource)
	}
	eventually(c.t, func() bool { // what controllers make once, no change of the hour
		_, err := c.client.Resource(configMaps).Namespace(c.namespace).Get(context.Background(), "kube-root-ca.crt", metav1.GetOptions{})
		node, nodeErr := c.client.Resource(nodes).Get(context.Background(), "node-1", metav1.GetOptions{})
		if err != nil || nodeErr != nil {
			return false
		}
		taints, _, _ := unstructured.NestedSlice(node.Object, "spec", "taints")
		return len(taints) == 0 && node.GetAnnotations()["node.alpha.kubernetes.io/ttl"] != ""
	}, "the namespace and the node are ready")
}

// rolledOut tells whether a workload's controller has nothing left to do.
func rolledOut(o *unstructured.Unstructured) bool {
	number := func(path ...string) int64 {
		n, _, _ := unstructured.NestedInt64(o.Object, path...)
		return n
	}
	if number("status", "observedGeneration") != o.GetGeneration() {
		return false
	}
	if o.GetKind() == "DaemonSet" {
		want := number("status", "desiredNumberScheduled")
		return want == 1 && number("status", "numberReady") == want && number("status", "updatedNumberScheduled") == want
	}
	want := number("spec", "replicas")
	return number("status", "replicas") == want && number("status", "readyReplicas") == want && number("status", "updatedReplicas") == want
}
