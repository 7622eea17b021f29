// Package conventions names what an event says by OpenTelemetry's semantic
// conventions, for logs and spans alike.
package conventions

import (
	"regexp"
	"strings"

	"github.com/kwatchman/kwatchman/event"
)

// Each calls add with what an event says of the change and its object, and with
// nothing of what the object holds: by the conventions for Kubernetes and
// CloudEvents, and the rest as kwatchman.*. A value may be empty.
// https://opentelemetry.io/docs/specs/semconv/registry/attributes/k8s/
func Each(e *event.Event, add func(name, value string)) {
	add("k8s.cluster.name", e.Cluster)
	if isUUID.MatchString(e.Cluster) { // by default it is the UID that the conventions ask for
		add("k8s.cluster.uid", e.Cluster)
	}
	add("k8s.namespace.name", e.Namespace)
	if k, ok := kinds[group(e.APIVersion)+"/"+e.Kind]; ok {
		add("k8s."+k.name+".name", e.Name)
		if k.uid {
			add("k8s."+k.name+".uid", UID(e))
		}
	}
	add("kwatchman.action", string(e.Action))
	add("kwatchman.api_version", e.APIVersion)
	add("kwatchman.kind", e.Kind)
	add("kwatchman.name", e.Name)
	add("kwatchman.via", e.Via)
	CloudEvent(e, add)
}

// CloudEvent calls add with the attributes of the CloudEvent alone.
// https://opentelemetry.io/docs/specs/semconv/cloudevents/cloudevents-spans/
func CloudEvent(e *event.Event, add func(name, value string)) {
	add("cloudevents.event_id", e.ID)
	add("cloudevents.event_source", e.Source)
	add("cloudevents.event_subject", e.Subject)
	add("cloudevents.event_type", e.Type())
}

// UID is the object's, which starts the id of a change; empty for an id of
// somebody else's making.
func UID(e *event.Event) string {
	parts := strings.Split(e.ID, ".")
	if len(parts) != 3 {
		return ""
	}
	return parts[0]
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
