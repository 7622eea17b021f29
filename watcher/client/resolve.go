package client

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/internal/suggest"
)

// Find lists the resources that a name may mean, in the order of preference:
// by plural, singular, kind or short name, each also with its group, or
// version and group, behind a dot (deployments.apps, deployments.v1.apps).
// What cannot be listed and watched is left out.
func (d *Discovery) Find(name string) []Resource {
	wanted := strings.ToLower(name)
	var out []Resource
	for _, r := range d.Resources {
		if canWatch(r) && slices.Contains(r.names(), wanted) {
			out = append(out, r)
		}
	}
	return out
}

// machineWritten are the kinds that All leaves out: controllers write them,
// in numbers, and what a person did shows elsewhere. Naming one watches it.
var machineWritten = []schema.GroupResource{
	{Resource: "endpoints"},
	{Resource: "events"},
	{Resource: "pods"},
	{Group: "apps", Resource: "controllerrevisions"},
	{Group: "apps", Resource: "replicasets"},
	{Group: "coordination.k8s.io", Resource: "leasecandidates"},
	{Group: "coordination.k8s.io", Resource: "leases"},
	{Group: "discovery.k8s.io", Resource: "endpointslices"},
	{Group: "events.k8s.io", Resource: "events"},
	{Group: "internal.apiserver.k8s.io", Resource: "storageversions"},
	{Group: "metrics.k8s.io", Resource: "nodes"},
	{Group: "metrics.k8s.io", Resource: "pods"},
	{Group: "networking.k8s.io", Resource: "ipaddresses"},
	{Group: "resource.k8s.io", Resource: "resourceslices"},
	{Group: "storage.k8s.io", Resource: "csinodes"},
	{Group: "storage.k8s.io", Resource: "csistoragecapacities"},
	{Group: "storage.k8s.io", Resource: "volumeattachments"},
}

// MachineWritten names the kinds that All leaves out.
func MachineWritten() []string {
	var out []string
	for _, r := range machineWritten {
		out = append(out, r.String())
	}
	return out
}

// All lists every resource that can be listed and watched, but for those that
// machines write, in the order of preference: several versions of one follow
// one another.
func (d *Discovery) All() []Resource {
	var out []Resource
	for _, r := range d.Resources {
		if canWatch(r) && !slices.Contains(machineWritten, r.GroupResource()) {
			out = append(out, r)
		}
	}
	return out
}

// Missing explains a name that Find has nothing for: an error that names the
// nearest, or nil if it may be served later, as that of a custom resource may.
// near is then a name that is served and differs little.
func (d *Discovery) Missing(name string) (near string, err error) {
	wanted := strings.ToLower(name)
	if slices.ContainsFunc(d.Resources, func(r Resource) bool { return slices.Contains(r.names(), wanted) }) {
		return "", fmt.Errorf("resource %q cannot be listed and watched", name)
	}
	if strings.Contains(wanted, "*") {
		return "", fmt.Errorf("unknown resource %q: * alone stands for all", name)
	}
	near = suggest.Nearest(wanted, d.names())
	if _, ok := Custom(wanted); ok {
		return near, nil
	}
	var hint string
	switch {
	case near != "":
		return "", fmt.Errorf("unknown resource %q: did you mean %s?", name, near)
	case strings.Contains(wanted, "/"):
		hint = ": subresources cannot be watched, name the resource"
	case strings.Contains(wanted, "."):
		hint = ": behind the dot stands its group, as in deployments.apps, or its version and group"
	default:
		hint = ": a custom resource that is to come later is named with its group, as crontabs.stable.example.com"
	}
	if len(d.Stale) > 0 {
		hint += fmt.Sprintf(" (the servers of these API groups do not answer: %s)", strings.Join(d.Stale, ", "))
	}
	return "", fmt.Errorf("unknown resource %q%s", name, hint)
}

// names are all that can be watched.
func (d *Discovery) names() []string {
	var out []string
	for _, r := range d.Resources {
		if canWatch(r) {
			out = append(out, r.names()...)
		}
	}
	return out
}

// version is how Kubernetes writes versions.
var version = regexp.MustCompile(`^v[0-9]+((alpha|beta)[0-9]+)?$`)

// Custom reads a name as that of a custom resource, which may be served later:
// its group, behind the version if there is one, is a domain with at least one
// dot. The name is taken for the plural.
func Custom(name string) (schema.GroupResource, bool) {
	plural, group, _ := strings.Cut(strings.ToLower(name), ".")
	if first, rest, ok := strings.Cut(group, "."); ok && version.MatchString(first) {
		group = rest
	}
	ok := plural != "" && strings.Contains(strings.Trim(group, "."), ".") && !strings.ContainsAny(name, "/*: ")
	return schema.GroupResource{Group: group, Resource: plural}, ok
}

func canWatch(r Resource) bool {
	return slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "watch")
}
