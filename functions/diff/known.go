package diff

import (
	"strings"
)

// kind is what of a manifest decides how its lists are read.
type kind struct {
	name    string
	builtIn bool // a kind of Kubernetes itself
}

func kindOf(m map[string]any) kind {
	name, _ := m["kind"].(string)
	version, _ := m["apiVersion"].(string)
	group, _, grouped := strings.Cut(version, "/")
	return kind{name: name, builtIn: version != "" &&
		(!grouped || !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io"))}
}

// keys are the members that the items of a list are known by, in the order in
// which they are tried: what the API says (mergeKeys), what lists of that name
// hold though the API takes them for one value, what lists mostly hold.
func (k kind) keys(field string) [][]string {
	all := append([][]string{}, mergeKeys[field]...)
	return append(append(all, usualKeys[field]...), commonKeys...)
}

var usualKeys = map[string][][]string{
	"rules":    {{"host"}, {"apiGroups", "resources", "resourceNames", "nonResourceURLs"}, {"nonResourceURLs"}},
	"subjects": {{"kind", "namespace", "name"}},
	"paths":    {{"path", "pathType"}},
	"tls":      {{"secretName"}},
	// One that tolerates something else is another one.
	"tolerations": {{"key", "operator", "value", "effect"}},
	"taints":      {{"key", "value", "effect"}},
}

var commonKeys = [][]string{{"name"}, {"key"}, {"id"}, {"type"}, {"host"}, {"path"}, {"kind", "namespace", "name"}, {"key", "operator", "value", "effect"}}

// keyed tells whether the API itself matches the items of a list by keys.
func keyed(field string) bool { return len(mergeKeys[field]) > 0 }

// unordered tells whether the order of a list has no meaning. For the kinds of
// others nobody knows.
func (c *comparison) unordered(field string, old []any) bool {
	if c.order {
		return false
	}
	if (field == "finalizers" || field == "ownerReferences") && len(c.at) == 2 && c.at[0] == "metadata" {
		return true
	}
	if !c.kind.builtIn {
		return false
	}
	switch field {
	case "initContainers", "webhooks", "variables": // run, called, computed one after the other
		return false
	case "env":
		return !refers(old)
	case "rules":
		return c.kind.name != "Job" && c.kind.name != "CronJob" // podFailurePolicy: the first that fits
	}
	return keyed(field) || sets[field] || unorderedLists[field]
}

// unorderedLists are read as sets by Kubernetes, though its API takes them for
// one value each.
var unorderedLists = map[string]bool{
	"accessModes": true, "apiGroups": true, "apiVersions": true, "operations": true, "resources": true,
	"resourceNames": true, "verbs": true, "nonResourceURLs": true, "scopes": true, "policyTypes": true,
	"hosts": true, "tls": true, "paths": true, "values": true, "add": true, "drop": true,
	"externalIPs": true, "loadBalancerSourceRanges": true, "shortNames": true, "categories": true,
	"supplementalGroups": true, "subjects": true, "tolerations": true, "taints": true, "ingress": true, "egress": true,
	"from": true, "to": true, "except": true, "matchExpressions": true, "matchFields": true, "nodeSelectorTerms": true,
	"preferredDuringSchedulingIgnoredDuringExecution": true, "requiredDuringSchedulingIgnoredDuringExecution": true,
	"metrics": true, "limits": true, "clusterRoleSelectors": true, "readinessGates": true,
}

// refers tells whether a variable of a container's env names others, which have
// to stand before it.
func refers(env []any) bool {
	for _, item := range env {
		m, _ := item.(map[string]any)
		if text, _ := m["value"].(string); strings.Contains(text, "$(") {
			return true
		}
	}
	return false
}
