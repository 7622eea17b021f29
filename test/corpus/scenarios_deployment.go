package main

const (
	web = "kubectl apply -f web.yaml"

	// rollOut has the pods become ready as a kubelet would report it, until the rollout is over.
	rollOut = `
until kubectl rollout status deployment/web --timeout=1s; do . ./ready.sh; done`
)

func rollouts() []scenario {
	return []scenario{
		{name: "deployment-created", do: web, keep: one("Add Deployment/web")},
		{name: "deployment-deleted", given: web, do: "kubectl delete deployment web", keep: one("Delete Deployment/web")},
		{
			name: "deployment-rollout", what: "A new image, and the rollout until its end: kubectl set image deployment/web app=registry.example.com/shop/web:1.5.0",
			given: web + rollOut,
			do:    "kubectl set image deployment/web app=registry.example.com/shop/web:1.5.0" + rollOut,
			keep: []pick{
				{event: "Deployment/web spec", note: "The change itself."},
				{"revision", "Deployment/web metadata.annotations", "The controller counts the revision and reports a new ReplicaSet."},
				{"observed", "Deployment/web status.observedGeneration", "The controller has seen it; the next pods are new ones."},
				{"available", "Deployment/web status.availableReplicas", "One more pod is available."},
				{"complete", "Deployment/web status.conditions NewReplicaSetAvailable", "The controller reports that it is over."},
				{"new-replicaset", "Add ReplicaSet/web-*", "The new ReplicaSet."},
				{"replicaset", "ReplicaSet/web-* spec.replicas", "The controller scales one of the ReplicaSets."},
				{"pod", "Add Pod/web-*", "A new pod."},
				{"pod-ready", "Pod/web-* status.conditions", "It becomes ready."},
				{"pod-gone", "Delete Pod/web-*", "An old pod goes."},
			},
		},
		{name: "deployment-restart", given: web, do: "kubectl rollout restart deployment/web", keep: one("Deployment/web spec")},
		{
			name: "deployment-undo", do: "kubectl rollout undo deployment/web", keep: one("Deployment/web spec"),
			given: web + "\nsleep 1; kubectl set image deployment/web app=registry.example.com/shop/web:1.5.0",
		},
		{name: "deployment-paused", given: web, do: "kubectl rollout pause deployment/web", keep: one("Deployment/web spec.paused")},
		{
			name: "deployment-checksum", what: "helm upgrade that changes nothing but the checksum of the configuration", given: web,
			do:   patched("deployment web", "helm", `{"spec":{"template":{"metadata":{"annotations":{"checksum/config":"e0c9035898dd52fc"}}}}}`),
			keep: one("Deployment/web spec"),
		},
		{
			name: "deployment-chart-upgrade", what: "helm upgrade cart to chart 2.0.0 (server-side apply of the next chart)",
			given: "kubectl apply --server-side --field-manager=helm -f chart-1.yaml",
			do:    "kubectl apply --server-side --field-manager=helm -f chart-2.yaml",
			keep:  one("Deployment/cart spec"),
		},
		{
			name: "deployment-server-side-apply", what: "A GitOps controller applies two changes by server-side apply",
			given: "kubectl apply --server-side --field-manager=argocd-controller -f web.yaml",
			do: `sed 's/replicas: 3/replicas: 4/; s/web:1.4.0/web:1.4.1/' web.yaml |
	kubectl apply --server-side --field-manager=argocd-controller -f -`,
			keep: one("Deployment/web spec"),
		},
	}
}

// template is a strategic merge patch of the spec of the pod template.
func template(spec string) string {
	return patched("deployment web", "", `{"spec":{"template":{"spec":`+spec+`}}}`)
}

func pods() []scenario {
	all := []scenario{
		{name: "deployment-env-inserted", what: "An env variable is inserted in the middle: kubectl apply", do: edited("web.yaml", `/CART_URL/i \        - {name: CART_TIMEOUT, value: 2s}`)},
		{name: "deployment-env-reordered", what: "The same env variables in another order: kubectl apply", do: edited("web.yaml", `/CACHE_TTL/d; /LOG_LEVEL/i \        - {name: CACHE_TTL, value: 60s}`)},
		{name: "deployment-env-value", do: "kubectl set env deployment/web -c app LOG_LEVEL=debug"},
		{name: "deployment-env-removed", do: "kubectl set env deployment/web CACHE_TTL-"},
		{name: "deployment-env-from-secret", do: template(`{"containers":[{"name":"app","env":[{"name":"API_TOKEN","valueFrom":{"secretKeyRef":{"name":"web","key":"token"}}}]}]}`)},
		{name: "deployment-sidecar-first", what: "A sidecar is inserted before the other containers: kubectl apply", do: edited("web.yaml", `s|      containers:|&\n      - {name: logs, image: "registry.example.com/tools/logs:3.0", args: [--follow]}|`)},
		{name: "deployment-sidecar-removed", do: template(`{"containers":[{"name":"proxy","$patch":"delete"}]}`)},
		{name: "deployment-init-container", do: template(`{"initContainers":[{"name":"migrate","image":"registry.example.com/shop/migrate:1.4.0"}]}`)},
		{name: "deployment-args", what: "kubectl edit deployment web: one of the arguments", do: `KUBE_EDITOR="sed -i s/listen=:8080/listen=:8081/" kubectl edit deployment web`},
		{name: "deployment-probe", do: template(`{"containers":[{"name":"app","readinessProbe":{"periodSeconds":15,"timeoutSeconds":3},"livenessProbe":{"httpGet":{"path":"/live","port":"http"}}}]}`)},
		{name: "deployment-resources", do: "kubectl set resources deployment web --containers=app --requests=cpu=250m,memory=256Mi --limits=memory=512Mi"},
		{name: "deployment-port", do: template(`{"containers":[{"name":"app","ports":[{"name":"debug","containerPort":6060}]}]}`)},
		{name: "deployment-volume", do: template(`{"volumes":[{"name":"cache","emptyDir":{"sizeLimit":"1Gi"}}],"containers":[{"name":"app","volumeMounts":[{"name":"cache","mountPath":"/var/cache/web"}]}]}`)},
		{name: "deployment-tolerations", do: template(`{"tolerations":[{"key":"spot","operator":"Exists","effect":"NoSchedule"}],"nodeSelector":{"pool":"spot"}}`)},
		{name: "deployment-affinity", do: template(`{"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app.kubernetes.io/name":"web"}}}]}}}`)},
		{name: "deployment-security", do: template(`{"hostPID":true,"containers":[{"name":"app","securityContext":{"runAsUser":0,"capabilities":{"add":["NET_ADMIN"]}}}]}`)},
		{name: "deployment-strategy", do: patched("deployment web", "", `{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}`)},
		{name: "deployment-password-in-env", what: "An env variable is a URL with a password", do: "kubectl set env deployment/web -c app DATABASE_URL=postgres://web:s3cr3t-example@db:5432/shop"}, //nolint:gosec // an example
	}
	for i := range all {
		all[i].given, all[i].keep = web, one("Deployment/web spec")
	}
	return all
}

func metadata() []scenario {
	const ignored = "\nkubectl annotate deployment web kwatchman.dev/ignore="
	return []scenario{
		{name: "deployment-label", given: web, do: "kubectl label deployment web tier=frontend", keep: one("Deployment/web metadata.labels")},
		{name: "deployment-label-removed", given: web, do: "kubectl label deployment web team-", keep: one("Deployment/web metadata.labels")},
		{name: "deployment-annotation", given: web, do: "kubectl annotate deployment web example.com/runbook=https://wiki.example.com/web", keep: one("Deployment/web metadata.annotations")},
		{name: "deployment-finalizer", given: web, do: patched("deployment web", "", `{"metadata":{"finalizers":["example.com/cleanup"]}}`), keep: one("Deployment/web metadata.finalizers")},
		{
			name: "configmap-owner", given: web + "\nkubectl create configmap web-cache --from-literal=a=1", keep: one("ConfigMap/web-cache metadata.ownerReferences"),
			what: "A controller adopts a ConfigMap", do: patched("configmap web-cache", "operator",
				`{"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"Deployment","name":"web","uid":"'$(kubectl get deployment web -o "jsonpath={.metadata.uid}")'"}]}}`),
		},
		{
			name: "ignore-all", what: "A new image of an object that has kwatchman.dev/ignore: true", given: web + ignored + "true",
			do: "kubectl set image deployment/web app=registry.example.com/shop/web:1.5.0", keep: one("Deployment/web spec"),
		},
		{
			name: "ignore-annotated", given: web, do: "kubectl annotate deployment web kwatchman.dev/ignore=true", keep: one("Deployment/web metadata.annotations"),
		},
		{
			name: "ignore-paths", what: "A new image where kwatchman.dev/ignore names the replicas and the images", keep: one("Deployment/web spec"),
			given: web + ignored + "'spec.replicas, spec.template.spec.containers[*].image'",
			do:    "kubectl set image deployment/web app=registry.example.com/shop/web:1.5.0",
		},
		{
			name: "ignore-paths-and-more", what: "A new image and an argument where kwatchman.dev/ignore names the images", keep: one("Deployment/web spec"),
			given: web + ignored + "'spec.template.spec.containers[*].image'",
			do:    template(`{"containers":[{"name":"app","image":"registry.example.com/shop/web:1.5.0","args":["--listen=:8081"]}]}`),
		},
	}
}
