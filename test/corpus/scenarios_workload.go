package main

func workloads() []scenario {
	all := []scenario{
		{name: "statefulset-image", do: "kubectl set image statefulset/db db=registry.example.com/shop/db:16.4", keep: []pick{
			{event: "StatefulSet/db spec"},
			{"status", "StatefulSet/db status.updateRevision", "The controller has seen it."},
			{"revision", "Add ControllerRevision/db-*", "The revision that the controller keeps."},
		}},
		{name: "statefulset-partition", do: patched("statefulset db", "", `{"spec":{"updateStrategy":{"rollingUpdate":{"partition":1}}}}`), keep: one("StatefulSet/db spec")},
		{name: "daemonset-image", do: "kubectl set image daemonset/agent agent=registry.example.com/metrics/agent:1.1.0", keep: []pick{
			{event: "DaemonSet/agent spec"},
			{"status", "DaemonSet/agent status", "The controller has seen it."},
		}},
		{name: "daemonset-node-selector", do: patched("daemonset agent", "", `{"spec":{"template":{"spec":{"nodeSelector":{"pool":"general"},"tolerations":[{"operator":"Exists"}]}}}}`), keep: one("DaemonSet/agent spec")},
		{name: "job-suspended", do: patched("job import", "", `{"spec":{"suspend":true}}`), keep: []pick{
			{event: "Job/import spec.suspend"},
			{"status", "Job/import status", "The controller has stopped it."},
		}},
		{name: "job-parallelism", do: patched("job import", "", `{"spec":{"parallelism":3}}`), keep: one("Job/import spec.parallelism")},
		{name: "cronjob-schedule", do: `KUBE_EDITOR="sed -i 's/0 3 1 1/30 4 1 1/'" kubectl edit cronjob report`, keep: one("CronJob/report spec.schedule")},
		{name: "cronjob-suspended", do: patched("cronjob report", "", `{"spec":{"suspend":true}}`), keep: one("CronJob/report spec.suspend")},
		{name: "cronjob-image", what: "kubectl apply: a new image and an argument", do: edited("workloads.yaml", "s|shop/report:1.0.0|shop/report:1.1.0|; s/since=24h/since=48h/"), keep: one("CronJob/report spec")},
		{name: "job-by-hand", do: "kubectl create job report-now --from=cronjob/report", keep: one("Add Job/report-now")},
		{name: "pod-label", do: "kubectl label pod debug owner=platform", keep: one("Pod/debug metadata.labels")},
		{name: "pod-deleted", do: "kubectl delete pod debug --now", keep: one("Delete Pod/debug")},
		{name: "pod-status", what: "A kubelet reports a container that does not start", keep: one("Pod/debug status"), do: patched("pod debug --subresource=status", "kubelet",
			`{"status":{"phase":"Pending","containerStatuses":[{"name":"shell","image":"registry.example.com/tools/shell:1","imageID":"","ready":false,"restartCount":0,"state":{"waiting":{"reason":"ImagePullBackOff","message":"Back-off pulling image"}}}]}}`)},
	}
	for i := range all {
		all[i].given = applied("workloads.yaml")
	}
	return all
}
