package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

const (
	namespaces = 20
	// maxCopies bounds how often the recorded objects may be multiplied: the
	// number of the copy has two digits in their names.
	maxCopies = 100
	seed      = 5
)

type obj = map[string]any

var services = []string{
	"accounts", "billing", "catalog", "checkout", "delivery", "frontend", "inventory", "mailer",
	"orders", "payments", "pricing", "profile", "recommend", "reports", "search", "shipping",
}

// generator makes the i-th Deployment, always the same.
type generator struct {
	i   int
	rng *rand.Rand
}

func newGenerator(i int) *generator {
	return &generator{i, rand.New(rand.NewPCG(seed, uint64(i)))} //nolint:gosec // the same numbers in every run
}

func objectNamespace(i int) string { return fmt.Sprintf("bench-%02d", i%namespaces) }

// objectName holds two digits for the number of a copy.
func objectName(i int) string { return fmt.Sprintf("%s-00-%05d", services[i%len(services)], i) }

func objectPath(i int) string {
	return "/apis/apps/v1/namespaces/" + objectNamespace(i) + "/deployments/" + objectName(i)
}

// hex is what compresses badly: digests, tokens, addresses.
func (g *generator) hex(n int) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for range n {
		b.WriteByte(digits[g.rng.IntN(16)])
	}
	return b.String()
}

// manifest is a Deployment as a chart installs it; the API server adds defaults
// and managedFields and serves about 8 KB.
func (g *generator) manifest() ([]byte, error) {
	name, service := objectName(g.i), services[g.i%len(services)]
	labels := obj{
		"app.kubernetes.io/name": service, "app.kubernetes.io/instance": name, "app.kubernetes.io/component": "server",
		"app.kubernetes.io/part-of": "shop", "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": service + "-4.2.1",
	}
	return json.Marshal(obj{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": obj{
			"name": name, "labels": labels,
			"annotations": obj{
				"deployment.kubernetes.io/revision": fmt.Sprint(1 + g.rng.IntN(40)),
				"meta.helm.sh/release-name":         name, "meta.helm.sh/release-namespace": objectNamespace(g.i),
			},
		},
		"spec": obj{
			"replicas": 2, "revisionHistoryLimit": 5,
			"selector": obj{"matchLabels": obj{"app.kubernetes.io/instance": name}},
			"strategy": obj{"type": "RollingUpdate", "rollingUpdate": obj{"maxSurge": "25%", "maxUnavailable": 0}},
			"template": obj{
				"metadata": obj{"labels": labels, "annotations": obj{
					"checksum/config": g.hex(64), "prometheus.io/scrape": "true", "prometheus.io/port": "9102",
				}},
				"spec": g.podSpec(name, service),
			},
		},
	})
}

func (g *generator) podSpec(name, service string) obj {
	return obj{
		"serviceAccountName": service, "terminationGracePeriodSeconds": 45,
		"securityContext": obj{"runAsNonRoot": true, "runAsUser": 10001, "fsGroup": 10001},
		"containers": []obj{
			{
				"name": "app", "image": "registry.local/shop/" + service + ":1.0.0@sha256:" + g.hex(64),
				"args": []string{"--listen=:8080", "--log-format=json", "--shutdown-timeout=30s"},
				"env":  g.env(name, service), "ports": []obj{{"name": "http", "containerPort": 8080}},
				"resources":      obj{"requests": obj{"cpu": "250m", "memory": "256Mi"}, "limits": obj{"memory": "512Mi"}},
				"livenessProbe":  probe("/healthz", 10),
				"readinessProbe": probe("/readyz", 5),
				"volumeMounts": []obj{
					{"name": "config", "mountPath": "/etc/" + service, "readOnly": true}, {"name": "tmp", "mountPath": "/tmp"},
				},
			},
		},
		"volumes": []obj{
			{"name": "config", "configMap": obj{"name": name + "-config"}}, {"name": "tmp", "emptyDir": obj{}},
		},
		"topologySpreadConstraints": []obj{{
			"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
			"labelSelector": obj{"matchLabels": obj{"app.kubernetes.io/instance": name}},
		}},
	}
}

func (g *generator) env(name, service string) []obj {
	plain := func(key, value string) obj { return obj{"name": key, "value": value} }
	out := []obj{
		plain("SERVICE_NAME", name), plain("RELEASE", g.hex(12)),
		plain("DATABASE_URL", "postgres://"+service+"@db-"+g.hex(6)+".databases.svc.cluster.local:5432/"+service),
		plain("CACHE_ADDRESS", "cache-"+g.hex(6)+".caches.svc.cluster.local:6379"),
		plain("TRACING_ENDPOINT", "http://collector.observability.svc.cluster.local:4318"),
		{"name": "DATABASE_PASSWORD", "valueFrom": obj{"secretKeyRef": obj{"name": name + "-database", "key": "password"}}},
		{"name": "POD_IP", "valueFrom": obj{"fieldRef": obj{"fieldPath": "status.podIP"}}},
	}
	for i := range 2 {
		out = append(out, plain(fmt.Sprintf("FEATURE_%d_ROLLOUT", i), fmt.Sprintf("%d%%", g.rng.IntN(101))))
	}
	for _, other := range []string{"ORDERS", "SEARCH"} {
		out = append(out, plain(other+"_TOKEN_ID", g.hex(32)))
	}
	return out
}

func probe(path string, period int) obj {
	return obj{"httpGet": obj{"path": path, "port": "http"}, "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": 6}
}

// status is what the controller would write once it is rolled out.
func (g *generator) status() ([]byte, error) {
	const at = "2026-11-20T08:15:30Z"
	condition := func(kind, reason, message string) obj {
		return obj{
			"type": kind, "status": "True", "reason": reason, "message": message,
			"lastUpdateTime": at, "lastTransitionTime": at,
		}
	}
	return json.Marshal(obj{"status": obj{
		"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
		"conditions": []obj{
			condition("Available", "MinimumReplicasAvailable", "Deployment has minimum availability."),
			condition("Progressing", "NewReplicaSetAvailable",
				`ReplicaSet "`+objectName(g.i)+"-"+g.hex(9)+`" has successfully progressed.`),
		},
	}})
}
