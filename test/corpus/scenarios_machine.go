package main

// leader is a patch of the annotation that older clients elect a leader with.
func leader(object, holder, renewed string) string {
	return patched(object, "operator", `{"metadata":{"annotations":{"control-plane.alpha.kubernetes.io/leader":"{\"holderIdentity\":\"`+holder+
		`\",\"leaseDurationSeconds\":15,\"acquireTime\":\"2026-01-01T08:00:00Z\",\"renewTime\":\"`+renewed+`\",\"leaderTransitions\":0}"}}}`)
}

func machines() []scenario {
	all := []scenario{
		{name: "lease-renewed", what: "A Lease is renewed", do: patched("lease operator --type=merge", "operator", `{"spec":{"renewTime":"2026-01-01T08:10:02.000000Z"}}`), keep: one("Lease/operator spec.renewTime")},
		{name: "lease-taken-over", what: "Another one takes a Lease over", do: patched("lease operator --type=merge", "operator", `{"spec":{"holderIdentity":"operator-2","leaseTransitions":1,"acquireTime":"2026-01-01T08:11:00.000000Z","renewTime":"2026-01-01T08:11:00.000000Z"}}`), keep: one("Lease/operator spec.holderIdentity")},
		{name: "leader-configmap", what: "A leader renews in a ConfigMap", do: leader("configmap operator-leader", "operator-1", "2026-01-01T08:10:02Z"), keep: one("ConfigMap/operator-leader metadata.annotations")},
		{name: "leader-endpoints", what: "A leader renews in Endpoints", do: leader("endpoints operator-leader", "operator-1", "2026-01-01T08:10:02Z"), keep: one("Endpoints/operator-leader metadata.annotations")},
		{name: "event-again", what: "An Event is seen again", do: patched("event web.unhealthy --type=merge", "kubelet", `{"count":2,"lastTimestamp":"2026-01-01T08:00:10Z"}`), keep: one("Event/web.unhealthy count")},
	}
	for i := range all {
		all[i].given = `sed "s/NAMESPACE/$NAMESPACE/" machines.yaml | kubectl apply -f -`
	}
	return all
}
