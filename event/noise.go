package event

import "strings"

// NoisePart names a part of the noise list, which can be switched off where it
// is applied.
type NoisePart string

// The parts of the noise list.
const (
	NoiseMetadata       NoisePart = "metadata"        // what Kubernetes writes into metadata
	NoiseStatus         NoisePart = "status"          // what controllers report
	NoiseLeaderElection NoisePart = "leader-election" // who leads, renewed every few seconds
	NoiseChecksums      NoisePart = "checksums"       // an echo of another object's change
)

// NoiseField is an entry of the noise list: a path from the root of a
// manifest. Its last element is a key, or part of one between two stars.
type NoiseField struct {
	Part NoisePart
	Path []string
	Kind string // the kind it is noise of; empty: any
}

// noise is the one list of fields that machines write on nearly every update
// and that nobody asked to read.
var noise = [...]NoiseField{
	{Part: NoiseMetadata, Path: []string{"metadata", "managedFields"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "resourceVersion"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "generation"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "uid"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "creationTimestamp"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "selfLink"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "deployment.kubernetes.io/revision"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "deployment.kubernetes.io/revision-history"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "deployment.kubernetes.io/desired-replicas"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "deployment.kubernetes.io/max-replicas"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "deprecated.daemonset.template.generation"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "endpoints.kubernetes.io/last-change-trigger-time"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "autoscaling.alpha.kubernetes.io/conditions"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "autoscaling.alpha.kubernetes.io/current-metrics"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "pv.kubernetes.io/bind-completed"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "pv.kubernetes.io/bound-by-controller"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "volume.kubernetes.io/selected-node"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "volume.kubernetes.io/storage-provisioner"}},
	{Part: NoiseMetadata, Path: []string{"metadata", "annotations", "volume.beta.kubernetes.io/storage-provisioner"}},
	{Part: NoiseStatus, Path: []string{"status"}},
	{Part: NoiseLeaderElection, Path: []string{"metadata", "annotations", "control-plane.alpha.kubernetes.io/leader"}},
	{Part: NoiseLeaderElection, Path: []string{"metadata", "annotations", "kwatchman.dev/watermarks"}, Kind: "Lease"},
	{Part: NoiseLeaderElection, Path: []string{"spec", "renewTime"}, Kind: "Lease"},
	{Part: NoiseLeaderElection, Path: []string{"spec", "acquireTime"}, Kind: "Lease"},
	{Part: NoiseLeaderElection, Path: []string{"spec", "leaseTransitions"}, Kind: "Lease"},
	{Part: NoiseChecksums, Path: []string{"metadata", "annotations", "*checksum*"}},
	{Part: NoiseChecksums, Path: []string{"spec", "template", "metadata", "annotations", "*checksum*"}},
	{Part: NoiseChecksums, Path: []string{"spec", "jobTemplate", "spec", "template", "metadata", "annotations", "*checksum*"}},
}

// NoiseFields is a copy of the noise list.
func NoiseFields() []NoiseField { return append([]NoiseField(nil), noise[:]...) }

// Clean removes the noise list from a decoded manifest of any kind. Metadata and
// annotations that are empty then go too, so that they show as no change.
func Clean(manifest map[string]any) {
	for _, field := range noise {
		if field.Of(manifest) {
			remove(manifest, field.Path)
		}
	}
}

// Of tells whether the entry is for a manifest of that kind.
func (f *NoiseField) Of(manifest map[string]any) bool {
	return f.Kind == "" || manifest["kind"] == f.Kind
}

func remove(m map[string]any, path []string) {
	if len(path) == 1 {
		if part, ok := strings.CutPrefix(path[0], "*"); ok {
			removeAll(m, strings.TrimSuffix(part, "*"))
		} else {
			delete(m, path[0])
		}
		return
	}
	child, ok := m[path[0]].(map[string]any)
	if !ok {
		return
	}
	remove(child, path[1:])
	// Two versions may share the map, so it may have been emptied before; an
	// empty spec says something, and stays.
	if len(child) == 0 && (path[0] == "metadata" || path[0] == "annotations") {
		delete(m, path[0])
	}
}

func removeAll(m map[string]any, part string) {
	for key := range m {
		if strings.Contains(key, part) {
			delete(m, key)
		}
	}
}
