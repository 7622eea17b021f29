package eventtest

import (
	"encoding/json"
	"fmt"

	"github.com/kwatchman/kwatchman/event"
)

// SampleLarge is an Update of a Deployment whose manifest takes 8 KB, a usual
// size of a rich one: what benchmarks measure. Its image and its replicas
// change, or, if quiet, nothing but what Kubernetes writes on every update.
func SampleLarge(quiet bool) event.Event {
	image, replicas := "web:1.5.0", 5
	if quiet {
		image, replicas = "web:1.4.2", 3
	}
	e := Sample(event.Update)
	e.OldObject, e.Object = largeDeployment("web:1.4.2", 3, 7), largeDeployment(image, replicas, 8)
	return e
}

func largeDeployment(image string, replicas, generation int) json.RawMessage {
	type object = map[string]any
	var env, conditions []any
	for i := range 48 {
		env = append(env, object{"name": fmt.Sprintf("SETTING_%02d", i), "value": fmt.Sprintf("value-%d.shop.svc.cluster.local:8080", i)})
	}
	for i := range 4 {
		conditions = append(conditions, object{
			"type": fmt.Sprintf("Condition%d", i), "status": "True", "reason": "MinimumReplicasAvailable",
			"message":            "Deployment has minimum availability.",
			"lastTransitionTime": "2026-11-22T08:00:00Z", "lastUpdateTime": "2026-11-22T08:00:00Z",
		})
	}
	labels := object{"app.kubernetes.io/name": "web", "app.kubernetes.io/part-of": "shop", "tier": "frontend"}
	probe := object{"httpGet": object{"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1}
	container := object{
		"name": "web", "image": image, "env": env, "livenessProbe": probe, "readinessProbe": probe,
		"args": []any{"--port=8080", "--log-level=info"}, "imagePullPolicy": "IfNotPresent",
		"resources":    object{"limits": object{"cpu": "1", "memory": "512Mi"}, "requests": object{"cpu": "100m", "memory": "256Mi"}},
		"volumeMounts": []any{object{"name": "config", "mountPath": "/etc/web"}, object{"name": "tmp", "mountPath": "/tmp"}},
	}
	sidecar := object{"name": "proxy", "image": "proxy:2.1", "env": env[:36], "ports": []any{object{"containerPort": 15090, "protocol": "TCP"}}}
	raw, err := json.Marshal(object{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": object{
			"name": "web", "namespace": "shop", "labels": labels, "generation": generation,
			"uid": "0a4f5a2e-6c1d-4c57-9e0b-2f1f0f6f7c11", "resourceVersion": fmt.Sprint(generation),
			"annotations": object{"deployment.kubernetes.io/revision": fmt.Sprint(generation), "example.com/team": "shop"},
		},
		"spec": object{"replicas": replicas, "selector": object{"matchLabels": labels}, "template": object{
			"metadata": object{"labels": labels},
			"spec": object{
				"containers": []any{container, sidecar}, "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
				"volumes": []any{object{"name": "config", "configMap": object{"name": "web"}}, object{"name": "tmp", "emptyDir": object{}}},
			},
		}},
		"status": object{"replicas": replicas, "conditions": conditions, "observedGeneration": generation},
	})
	if err != nil {
		panic(err)
	}
	return raw
}
