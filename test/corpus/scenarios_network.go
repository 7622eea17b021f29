package main

func network() []scenario {
	all := []scenario{
		{name: "ingress-host-moved", what: "kubectl apply: the host moves, in the rule and in TLS", do: edited("network.yaml", "s/shop.example.com/store.example.com/"), keep: one("Ingress/web spec")},
		{name: "ingress-path-first", what: "kubectl apply: a path is inserted first", do: edited("network.yaml", `s|      paths:|&\n      - {path: /static, pathType: Prefix, backend: {service: {name: assets, port: {number: 80}}}}|`), keep: one("Ingress/web spec")},
		{name: "ingress-annotation", do: "kubectl annotate ingress web --overwrite nginx.ingress.kubernetes.io/proxy-body-size=64m", keep: one("Ingress/web metadata.annotations")},
		{name: "ingress-status", what: "The ingress controller reports its address", do: patched("ingress web --subresource=status --type=merge", "nginx-ingress-controller", `{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.80"}]}}}`), keep: one("Ingress/web status")},
		{name: "ingress-deleted", do: "kubectl delete ingress web", keep: one("Delete Ingress/web")},
		{name: "service-port", what: "kubectl apply: another port, and one more before it", do: edited("network.yaml", `s|  - {name: http, port: 80, targetPort: http}|  - {name: grpc, port: 9000}\n  - {name: http, port: 8080, targetPort: http}|`), keep: one("Service/web spec")},
		{name: "service-selector", do: `kubectl set selector service web app.kubernetes.io/name=web,track=canary`, keep: one("Service/web spec")},
		{name: "service-type", do: patched("service web", "", `{"spec":{"type":"LoadBalancer"}}`), keep: one("Service/web spec")},
		{name: "networkpolicy-opened", what: "A peer is let in from everywhere", do: patched("networkpolicy web --type=json", "", `[{"op":"add","path":"/spec/ingress/0","value":{"from":[{"ipBlock":{"cidr":"0.0.0.0/0"}}]}}]`), keep: one("NetworkPolicy/web spec")},
		{name: "networkpolicy-port", what: "kubectl apply: another port", do: edited("network.yaml", "s/port: 8080, protocol/port: 8443, protocol/"), keep: one("NetworkPolicy/web spec")},
		{name: "endpoints", what: "Another address in Endpoints that are written by hand", do: edited("network.yaml", "s/192.0.2.10/192.0.2.11/"), keep: []pick{
			{event: "Endpoints/legacy"},
			{"slice", "EndpointSlice/legacy-*", "The controller mirrors it."},
		}},
	}
	for i := range all {
		all[i].given = applied("network.yaml")
	}
	return append(all, scenario{
		name: "endpointslice-ready", what: "A pod behind a Service becomes ready", keep: one("EndpointSlice/web-* endpoints"),
		given: applied("network.yaml") + "\n" + node + `
kubectl create -f - <<'END'
{apiVersion: v1, kind: Pod, metadata: {name: web-1, labels: {app.kubernetes.io/name: web}}, spec: {nodeName: node-1, containers: [{name: app, image: "registry.example.com/shop/web:1.4.0", ports: [{name: http, containerPort: 8080}]}]}}
END
` + patched("pod web-1 --subresource=status", "kubelet", `{"status":{"phase":"Running","podIP":"192.0.2.20","podIPs":[{"ip":"192.0.2.20"}]}}`),
		do: patched("pod web-1 --subresource=status", "kubelet", `{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`),
	})
}

func access() []scenario {
	all := []scenario{
		{name: "role-verb", what: "kubectl apply: a Role may delete", do: edited("access.yaml", "s/get, list, patch/get, list, patch, delete/"), keep: one("Role/deployer rules")},
		{name: "role-rule-first", what: "kubectl apply: a rule is inserted first", do: edited("access.yaml", `s|^rules:|&\n- {apiGroups: [""], resources: [secrets], verbs: [get]}|`), keep: one("Role/deployer rules")},
		{name: "rolebinding-subject", do: patched("rolebinding deployer --type=json", "", `[{"op":"add","path":"/subjects/-","value":{"kind":"Group","apiGroup":"rbac.authorization.k8s.io","name":"developers"}}]`), keep: one("RoleBinding/deployer subjects")},
		{name: "serviceaccount-annotation", do: "kubectl annotate serviceaccount deployer example.com/role=deployer", keep: one("ServiceAccount/deployer metadata.annotations")},
		{name: "serviceaccount-pull-secret", do: patched("serviceaccount deployer", "", `{"imagePullSecrets":[{"name":"registry"}]}`), keep: one("ServiceAccount/deployer imagePullSecrets")},
	}
	for i := range all {
		all[i].given = applied("access.yaml")
	}
	const clusterRole, binding = "clusteraccess.yaml", "clusterrolebinding shop-operator --type=json"
	return append(all,
		scenario{name: "clusterrole-widened", what: "kubectl apply: a ClusterRole may do everything with Secrets", given: fresh(clusterRole), do: edited(clusterRole, `s|^rules:|&\n- {apiGroups: [""], resources: [secrets], verbs: ["*"]}|; s/get, list, watch/get, list, watch, update/`), keep: one("ClusterRole/shop-operator rules")},
		scenario{name: "clusterrolebinding-subject", given: fresh(clusterRole), do: patched(binding, "", `[{"op":"add","path":"/subjects/0","value":{"kind":"ServiceAccount","name":"default","namespace":"shop"}}]`), keep: one("ClusterRoleBinding/shop-operator subjects")},
		scenario{name: "clusterrolebinding-created", do: "kubectl create clusterrolebinding shop-admins --clusterrole=cluster-admin --group=shop-admins", keep: one("Add ClusterRoleBinding/shop-admins")},
		scenario{name: "clusterrolebinding-deleted", given: fresh(clusterRole), do: "kubectl delete clusterrolebinding shop-operator", keep: one("Delete ClusterRoleBinding/shop-operator")},
	)
}
