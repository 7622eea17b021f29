package diff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

// deployment is a Deployment of 6.7 KB of JSON, status included.
func deployment(image string, replicas, generation int) []byte {
	type object = map[string]any
	var env, conditions []any
	for i := range 40 {
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
	sidecar := object{"name": "proxy", "image": "proxy:2.1", "env": env[:25], "ports": []any{object{"containerPort": 15090, "protocol": "TCP"}}}
	raw, err := json.Marshal(object{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": object{
			"name": "web", "namespace": "shop", "labels": labels, "generation": generation, "uid": "u", "resourceVersion": fmt.Sprint(generation),
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

func benchEvent(image string, replicas int) event.Event {
	e := eventtest.Sample(event.Update)
	e.OldObject, e.Object = deployment("web:1.4", 3, 7), deployment(image, replicas, 8)
	return e
}

func BenchmarkHandle(b *testing.B) {
	for _, c := range []struct {
		name string
		e    event.Event
		stop bool
	}{
		{"changed", benchEvent("web:1.5", 5), false},
		{"noise", benchEvent("web:1.4", 3), true},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.e.Object) + len(c.e.OldObject)))
			for b.Loop() {
				out, err := handle(b.Context(), c.e)
				if (out == nil) != c.stop {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkServe is the same change with the event's way in and out around it.
func BenchmarkServe(b *testing.B) {
	e := benchEvent("web:1.5", 5)
	req, err := event.NewRequest(b.Context(), "http://localhost/", &e)
	require.NoError(b, err)
	body, err := io.ReadAll(req.Body)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		r := req.Clone(b.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
		w := httptest.NewRecorder()
		event.Handler(handle).ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}
