package log

import (
	"log/slog"
	"regexp"
	"strings"

	"github.com/kwatchman/kwatchman/event"
)

// openTelemetry names what an event says by OpenTelemetry's semantic
// conventions for Kubernetes and CloudEvents, and the rest kwatchman.*:
// https://opentelemetry.io/docs/specs/semconv/registry/attributes/k8s/
func openTelemetry(e *event.Event) []slog.Attr {
	a := make(attributes, 0, 16)
	a.add("k8s.cluster.name", e.Cluster)
	if isUUID.MatchString(e.Cluster) { // by default it is the UID that the conventions ask for
		a.add("k8s.cluster.uid", e.Cluster)
	}
	a.add("k8s.namespace.name", e.Namespace)
	if k, ok := kinds[group(e.APIVersion)+"/"+e.Kind]; ok {
		a.add("k8s."+k.name+".name", e.Name)
		if k.uid {
			a.add("k8s."+k.name+".uid", uid(e))
		}
	}
	a.add("kwatchman.action", string(e.Action))
	a.add("kwatchman.api_version", e.APIVersion)
	a.add("kwatchman.kind", e.Kind)
	a.add("kwatchman.name", e.Name)
	a.add("kwatchman.via", e.Via)
	a.add("cloudevents.event_id", e.ID)
	a.add("cloudevents.event_source", e.Source)
	a.add("cloudevents.event_subject", e.Subject)
	a.add("cloudevents.event_type", e.Type())
	a.change(e)
	return a
}

var isUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// group is that of an apiVersion, empty for the core group.
func group(apiVersion string) string {
	g, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return ""
	}
	return g
}

// kinds are those that the conventions have names for, by group and kind: a
// custom resource may be called Service too.
var kinds = map[string]struct {
	name string
	uid  bool
}{
	"/Namespace":                          {"namespace", false},
	"/Node":                               {"node", true},
	"/PersistentVolume":                   {"persistentvolume", true},
	"/PersistentVolumeClaim":              {"persistentvolumeclaim", true},
	"/Pod":                                {"pod", true},
	"/ReplicationController":              {"replicationcontroller", true},
	"/ResourceQuota":                      {"resourcequota", true},
	"/Service":                            {"service", true},
	"apps/DaemonSet":                      {"daemonset", true},
	"apps/Deployment":                     {"deployment", true},
	"apps/ReplicaSet":                     {"replicaset", true},
	"apps/StatefulSet":                    {"statefulset", true},
	"autoscaling/HorizontalPodAutoscaler": {"hpa", true},
	"batch/CronJob":                       {"cronjob", true},
	"batch/Job":                           {"job", true},
	"storage.k8s.io/StorageClass":         {"storageclass", false},
}
