// Package event is the contract between the watcher and its functions: one
// change of one Kubernetes object as a CloudEvent, the function type that
// handles it, and the rules both sides keep.
package event

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// Action is what happened to an object.
type Action string

// The three actions, in the words that configuration and data use.
const (
	Add    Action = "Add"
	Update Action = "Update"
	Delete Action = "Delete"
)

// TypePrefix starts the CloudEvents type of every change; the action in lower
// case ends it.
const TypePrefix = "dev.kwatchman.resource."

// ParseAction reads an action from configuration, in any case. The error
// names the actions that exist.
func ParseAction(s string) (Action, error) {
	for _, a := range []Action{Add, Update, Delete} {
		if strings.EqualFold(s, string(a)) {
			return a, nil
		}
	}
	return "", fmt.Errorf("unknown action %q: want Add, Update or Delete", s)
}

// How the watcher found a change: on the watch, or by comparing a list with
// what it saw last after a gap.
const (
	ViaWatch  = "watch"
	ViaRelist = "relist"
)

// Event is one change on its way along the chain: the CloudEvents context and
// the data. A function reads all of it and changes only Diff, Payload or other
// data; ServeHTTP restores the context on what a function returns.
type Event struct {
	// ID is <uid>.<resourceVersion>.<action> in lower case: the same change
	// has the same id after a retry, a restart or a failover.
	ID string
	// Source is /clusters/<cluster>, path-escaped.
	Source string
	// Subject is the object's API path, each segment path-escaped.
	Subject string
	// Time is when the watcher saw the change.
	Time time.Time

	Cluster    string
	APIVersion string
	Kind       string
	Namespace  string // empty for a cluster-scoped object
	Name       string // as Kubernetes has it; path-escaped on the wire
	// PartitionKey equals Subject, so that delete and re-create stay in order.
	PartitionKey string
	// Via is ViaWatch or ViaRelist.
	Via string
	// Continue is the flag of the handler protocol; nil when the event does
	// not carry it. False asks every further function to stop at once.
	Continue *bool
	// Extensions holds all other CloudEvents extensions by their lower-case
	// name, such as traceparent.
	Extensions map[string]string

	Change
}

// Type is the CloudEvents type, which the action decides.
func (e *Event) Type() string { return TypePrefix + strings.ToLower(string(e.Action)) }

// Title names the change in one line: "UPDATE Deployment shop/web".
func (e *Event) Title() string {
	name := e.Name
	if e.Namespace != "" {
		name = e.Namespace + "/" + name
	}
	return strings.ToUpper(string(e.Action)) + " " + e.Kind + " " + oneLine(name)
}

// NewID is the deterministic id of a change: resourceVersion is that of the
// object, on Delete that of the old object.
func NewID(uid, resourceVersion string, action Action) string {
	return strings.ToLower(uid + "." + resourceVersion + "." + string(action))
}

// NewSource is the source of every event of a cluster.
func NewSource(cluster string) string { return "/clusters/" + url.PathEscape(cluster) }

// NewSubject is an object's API path with each segment path-escaped: a Role
// may be called almost anything, and a header may not. group is empty for the
// core group, namespace for a cluster-scoped object; resource is the plural.
func NewSubject(group, version, resource, namespace, name string) string {
	segments := []string{"api", version}
	if group != "" {
		segments = []string{"apis", group, version}
	}
	if namespace != "" {
		segments = append(segments, "namespaces", namespace)
	}
	segments = append(segments, resource, name)
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return "/" + strings.Join(segments, "/")
}

// Validate says what an event lacks before it may travel. The error is one
// line and holds no data of the manifests.
func (e *Event) Validate() error {
	var missing []string
	for _, a := range e.attributes() {
		if a.value == "" && a.name != extNamespace {
			missing = append(missing, a.name)
		}
	}
	if e.Time.IsZero() {
		missing = append(missing, "time")
	}
	if len(missing) > 0 {
		return errors.New("missing attribute: " + strings.Join(missing, ", "))
	}
	if name, ok := e.unprintable(); ok {
		return fmt.Errorf("attribute %s holds a control character", clip(oneLine(name), 60))
	}
	return e.validateChange()
}

type attribute struct{ name, value string }

// attributes are the ones of the contract that are text, by their names on the
// wire; only namespace may be empty.
func (e *Event) attributes() [10]attribute {
	return [...]attribute{
		{"id", e.ID},
		{"source", e.Source},
		{"subject", e.Subject},
		{extCluster, e.Cluster},
		{extAPIVersion, e.APIVersion},
		{extKind, e.Kind},
		{extNamespace, e.Namespace},
		{extName, e.Name},
		{extPartitionKey, e.PartitionKey},
		{extVia, e.Via},
	}
}

// unprintable names an attribute that no header can carry unchanged. Name is
// path-escaped on its way and may hold anything.
func (e *Event) unprintable() (name string, found bool) {
	for _, a := range e.attributes() {
		if a.name != extName && strings.ContainsFunc(a.value, unicode.IsControl) {
			return a.name, true
		}
	}
	for name, value := range e.Extensions {
		if strings.ContainsFunc(value, unicode.IsControl) {
			return name, true
		}
	}
	return "", false
}
