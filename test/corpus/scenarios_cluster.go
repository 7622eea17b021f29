package main

func limits() []scenario {
	all := []scenario{
		{name: "quota", do: patched("resourcequota shop", "", `{"spec":{"hard":{"pods":"80","requests.memory":"40Gi"}}}`), keep: []pick{
			{event: "ResourceQuota/shop spec"},
			{"status", "ResourceQuota/shop status", "The controller has seen it."},
		}},
		{name: "limitrange", what: "kubectl apply: more memory, and a maximum", do: edited("policies.yaml", "s/default: {memory: 256Mi}/default: {memory: 512Mi}\\n    max: {memory: 2Gi}/"), keep: one("LimitRange/shop spec")},
		{name: "pdb", do: patched("pdb web", "", `{"spec":{"minAvailable":null,"maxUnavailable":"25%"}}`), keep: []pick{
			{event: "PodDisruptionBudget/web spec"},
			{"status", "PodDisruptionBudget/web status", "The controller counts pods."},
		}},
	}
	for i := range all {
		all[i].given = applied("policies.yaml")
	}
	return append(all,
		scenario{name: "namespace-labels", do: `kubectl label namespace "$NAMESPACE" pod-security.kubernetes.io/enforce=privileged`, keep: one("Namespace/shop-* metadata.labels")},
		scenario{name: "namespace-deleted", what: "kubectl delete namespace shop", do: `kubectl delete namespace "$NAMESPACE" --wait=false`, keep: []pick{
			{"terminating", "Namespace/shop-* metadata.deletionTimestamp", "It begins to end."},
			{event: "Delete Namespace/shop-*"},
		}},
	)
}

func clusterWide() []scenario {
	all := []scenario{
		{name: "priorityclass", do: "kubectl annotate priorityclass checkout example.com/owner=payments", keep: one("PriorityClass/checkout metadata.annotations")},
		{name: "storageclass-default", do: "kubectl annotate storageclass fast storageclass.kubernetes.io/is-default-class=true", keep: one("StorageClass/fast metadata.annotations")},
		{name: "storageclass-expansion", do: patched("storageclass fast", "", `{"allowVolumeExpansion":false}`), keep: one("StorageClass/fast allowVolumeExpansion")},
		{name: "runtimeclass", do: "kubectl label runtimeclass sandboxed example.com/pool=sandboxes", keep: one("RuntimeClass/sandboxed metadata.labels")},
		{name: "ingressclass-default", do: "kubectl annotate ingressclass nginx ingressclass.kubernetes.io/is-default-class=true", keep: one("IngressClass/nginx metadata.annotations")},
		{name: "flowschema", do: patched("flowschema shop-operator", "", `{"spec":{"matchingPrecedence":800,"priorityLevelConfiguration":{"name":"workload-high"}}}`), keep: one("FlowSchema/shop-operator spec")},
		{name: "validatingpolicy", what: "kubectl apply: one more rule before the other, and another failure policy", do: edited("cluster.yaml", `s/failurePolicy: Fail/failurePolicy: Ignore/; s|  validations:|&\n  - {expression: "object.spec.replicas < 50", message: "fewer than 50 replicas"}|`), keep: one("ValidatingAdmissionPolicy/images spec")},
		{name: "mutatingpolicy", what: "kubectl apply: the policy sets another label", do: edited("cluster.yaml", `s/"team": "shop"/"team": "store"/`), keep: one("MutatingAdmissionPolicy/team spec")},
	}
	for i := range all {
		all[i].given = fresh("cluster.yaml")
	}
	return all
}

// node is one whose kubelet has just said that it is well.
const node = `kubectl delete node node-1 --ignore-not-found
kubectl create -f - <<'END'
{apiVersion: v1, kind: Node, metadata: {name: node-1, labels: {kubernetes.io/hostname: node-1, pool: general}}}
END
kubectl patch node node-1 --subresource=status --field-manager=kubelet -p '{"status":{"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady","lastHeartbeatTime":"2026-01-01T10:00:00Z"}],"capacity":{"cpu":"4","memory":"16Gi"}}}'
`

func nodes() []scenario {
	all := []scenario{
		{name: "node-label", do: "kubectl label node node-1 --overwrite pool=spot", keep: one("Node/node-1 metadata.labels")},
		{name: "node-taint", do: "kubectl taint node node-1 spot=true:NoSchedule", keep: one("Node/node-1 spec.taints spot")},
		{name: "node-cordoned", do: "kubectl cordon node-1", keep: one("Node/node-1 spec.unschedulable")},
		{name: "node-heartbeat", what: "A kubelet reports that its node is well", do: patched("node node-1 --subresource=status", "kubelet", `{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-01-01T10:05:00Z"}]}}`), keep: one("Node/node-1 status 10:05")},
		{name: "node-deleted", do: "kubectl delete node node-1", keep: one("Delete Node/node-1")},
	}
	for i := range all {
		all[i].given = node
	}
	return all
}

func storage() []scenario {
	const claim = `kubectl create -f - <<'END'
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: web-cache}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
END`
	// A volume has no namespace but in its name.
	const volumes = `sed "s/NAMESPACE/$NAMESPACE/" storage.yaml | kubectl apply -f -
kubectl wait --for=jsonpath={.status.phase}=Bound pvc data`
	return []scenario{
		{name: "pvc-created", do: claim, keep: one("Add PersistentVolumeClaim/web-cache")},
		{name: "pvc-deleted", do: "kubectl delete pvc web-cache", given: claim, keep: []pick{
			{event: "Delete PersistentVolumeClaim/web-cache"},
			{"begins", "PersistentVolumeClaim/web-cache metadata.deletionTimestamp", "Its finalizer is waited for."},
		}},
		{name: "pvc-grows", given: volumes, do: patched("pvc data", "", `{"spec":{"resources":{"requests":{"storage":"50Gi"}}}}`), keep: one("PersistentVolumeClaim/data spec")},
		{name: "pv-kept", given: volumes, do: patched(`pv "$NAMESPACE-data"`, "", `{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`), keep: one("PersistentVolume/*-data spec")},
		{name: "pv-released", given: volumes, do: "kubectl delete pvc data --wait=false", keep: one("PersistentVolume/*-data status.phase")},
	}
}
