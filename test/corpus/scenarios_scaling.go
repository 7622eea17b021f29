package main

// scaledBy is a scale through the subresource, as an autoscaler does it.
func scaledBy(object, manager string) string {
	return patched(object+" --subresource=scale --type=merge", manager, `{"spec":{"replicas":6}}`)
}

func scaling() []scenario {
	hpa := edited("web.yaml", "s/replicas: 3/replicas: 2/") + "\n" + applied("hpa.yaml")
	replicas := one("Deployment/web spec.replicas")
	return []scenario{
		{name: "scale-by-person", given: web, do: "kubectl scale deployment/web --replicas=5", keep: replicas},
		{name: "scale-by-apply", given: web, do: edited("web.yaml", "s/replicas: 3/replicas: 5/"), keep: replicas},
		{name: "scale-by-edit", given: web, do: `KUBE_EDITOR="sed -i 's/^  replicas: 3/  replicas: 1/'" kubectl edit deployment web`, keep: replicas},
		{
			name: "scale-by-hpa", what: "minReplicas of the HorizontalPodAutoscaler is raised, and its controller scales", given: hpa,
			do: patched("hpa web", "", `{"spec":{"minReplicas":5}}`),
			keep: []pick{
				{event: "Deployment/web spec.replicas", note: "The controller scales the Deployment."},
				{"hpa", "HorizontalPodAutoscaler/web spec.minReplicas", "What a person did."},
				{"status", "HorizontalPodAutoscaler/web status", "What the controller reports."},
				{"replicaset", "ReplicaSet/web-* spec.replicas", "The Deployment's controller follows."},
			},
		},
		{
			name: "scale-by-person-after-hpa", what: "A person scales what an autoscaler scaled before: kubectl scale deployment/web --replicas=8",
			given: hpa + "\n" + patched("hpa web", "", `{"spec":{"minReplicas":5}}`), do: "kubectl scale deployment/web --replicas=8", keep: replicas,
		},
		{name: "scale-by-keda", what: "KEDA scales", given: web, do: scaledBy("deployment web", "keda-operator"), keep: replicas},
		{name: "scale-by-proportional", what: "cluster-proportional-autoscaler scales", given: web, do: scaledBy("deployment web", "cluster-proportional-autoscaler"), keep: replicas},
		{
			name: "scale-by-unknown", what: "Somebody's own autoscaler scales with an update of the object", given: web,
			do: patched("deployment web", "shop-scaler", `{"spec":{"replicas":6}}`), keep: replicas,
		},
		{
			name: "scale-with-image", what: "A person changes replicas and image in one patch", given: web, keep: replicas,
			do: patched("deployment web", "", `{"spec":{"replicas":4,"template":{"spec":{"containers":[{"name":"app","image":"registry.example.com/shop/web:1.5.0"}]}}}}`),
		},
		{name: "scale-statefulset", given: applied("workloads.yaml"), do: "kubectl scale statefulset/db --replicas=3", keep: one("StatefulSet/db spec.replicas")},
		{name: "scale-custom", what: "An autoscaler scales a custom resource", given: applied("custom.yaml"), do: scaledBy("database orders", "keda-operator"), keep: one("Database/orders spec.replicas")},
		{
			name: "hpa-metrics", given: hpa, keep: one("HorizontalPodAutoscaler/web spec"), what: "kubectl apply of the HorizontalPodAutoscaler: another target, another maximum, a metric more",
			do: `sed 's/maxReplicas: 10/maxReplicas: 20/; s/averageUtilization: 80/averageUtilization: 65/' hpa.yaml > "$TEMP/hpa.yaml"
echo '  - {type: Pods, pods: {metric: {name: requests}, target: {type: AverageValue, averageValue: 200}}}' >> "$TEMP/hpa.yaml"
kubectl apply -f "$TEMP/hpa.yaml"`,
		},
	}
}
