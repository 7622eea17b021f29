// Package event is the contract between the watcher and its functions: one
// change of one Kubernetes object as a CloudEvent, the function type that
// handles it, and the rules both sides keep.
package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
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

// Change is the data of an event.
type Change struct {
	Action Action `json:"action"`
	// Object is the manifest after the change; absent on Delete.
	Object json.RawMessage `json:"object,omitempty"`
	// OldObject is the manifest before the change; absent on Add.
	OldObject json.RawMessage `json:"oldObject,omitempty"`
	// ChangedBy names the field managers that own what changed; empty when
	// Kubernetes recorded nobody.
	ChangedBy []Manager `json:"changedBy"`
	Diff      *Diff     `json:"diff,omitempty"`
	Payload   *Payload  `json:"payload,omitempty"`

	// Extra holds the members of data that this version does not know, so that
	// what a foreign function adds survives the functions behind it.
	Extra map[string]json.RawMessage `json:"-"`
}

// Manager is an entry of metadata.managedFields without its fields: who wrote,
// never a claim about a person.
type Manager struct {
	Manager     string `json:"manager"`
	Operation   string `json:"operation"`
	Subresource string `json:"subresource,omitempty"`
	// Time is missing where Kubernetes writes none, as for scale.
	Time *time.Time `json:"time,omitempty"`
}

// Diff says what changed between the cleaned manifests.
type Diff struct {
	// Summary is one line for people.
	Summary string `json:"summary"`
	// Changes lists the fields that changed, at most 256 KiB of them.
	Changes []FieldChange `json:"changes"`
	// Omitted counts the changes left out of Changes to keep that limit.
	Omitted int `json:"omitted,omitempty"`
	// Patch turns the old manifest into the new one (RFC 7396 merge patch).
	Patch json.RawMessage `json:"patch,omitempty"`
}

// FieldChange is one field that was added, removed or replaced.
type FieldChange struct {
	Op   string `json:"op"` // "add", "remove" or "replace"
	Path string `json:"path"`
	From any    `json:"from,omitempty"`
	To   any    `json:"to,omitempty"`
}

// Payload is the free field of an event, which log and slack show.
type Payload struct {
	ContentType string `json:"contentType"`
	// Data is a JSON string for text, or any JSON value for a JSON content type.
	Data json.RawMessage `json:"data,omitempty"`
	// DataBase64 holds bytes that are not text.
	DataBase64 []byte `json:"dataBase64,omitempty"`
}

// TextPayload is a payload of text.
func TextPayload(contentType, text string) *Payload {
	data, _ := marshal(text) // a string always encodes
	return &Payload{ContentType: contentType, Data: data}
}

// Text is the payload for people: the text itself, JSON as it stands, and for
// bytes how many there are.
func (p *Payload) Text() string {
	if p == nil {
		return ""
	}
	if len(p.DataBase64) > 0 {
		return fmt.Sprintf("(%d bytes of %s)", len(p.DataBase64), oneLine(p.ContentType))
	}
	var s string
	if json.Unmarshal(p.Data, &s) == nil {
		return s
	}
	return string(p.Data)
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
	required := []struct{ name, value string }{
		{"id", e.ID}, {"source", e.Source}, {"subject", e.Subject}, {"cluster", e.Cluster},
		{"apiversion", e.APIVersion}, {"kind", e.Kind}, {"name", e.Name},
		{"partitionkey", e.PartitionKey}, {"via", e.Via},
	}
	var missing []string
	for _, r := range required {
		if r.value == "" {
			missing = append(missing, r.name)
		}
	}
	if e.Time.IsZero() {
		missing = append(missing, "time")
	}
	if len(missing) > 0 {
		return errors.New("missing attribute: " + strings.Join(missing, ", "))
	}
	return e.validateChange()
}

func (c *Change) validateChange() error {
	var needOld, needNew bool
	switch c.Action {
	case Add:
		needNew = true
	case Update:
		needOld, needNew = true, true
	case Delete:
		needOld = true
	case "":
		return errors.New("missing action in data: want Add, Update or Delete")
	default:
		return fmt.Errorf("unknown action %q in data: want Add, Update or Delete", clip(string(c.Action), 40))
	}
	if needNew && !isObject(c.Object) {
		return fmt.Errorf("data of action %s needs a JSON object in object", c.Action)
	}
	if needOld && !isObject(c.OldObject) {
		return fmt.Errorf("data of action %s needs a JSON object in oldObject", c.Action)
	}
	return nil
}

func isObject(raw json.RawMessage) bool {
	return bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{"))
}

// known are the members of data that have a field of their own.
var known = [...]string{"action", "object", "oldObject", "changedBy", "diff", "payload"}

// MarshalJSON writes the known members and those of Extra.
func (c Change) MarshalJSON() ([]byte, error) {
	type plain Change
	if c.ChangedBy == nil {
		c.ChangedBy = []Manager{}
	}
	out, err := marshal(plain(c))
	if err != nil || len(c.Extra) == 0 {
		return out, err
	}
	extra, err := marshal(c.Extra)
	if err != nil {
		return nil, err
	}
	return append(append(out[:len(out)-1], ','), extra[1:]...), nil
}

// UnmarshalJSON reads the known members and keeps the others in Extra.
func (c *Change) UnmarshalJSON(data []byte) error {
	type plain Change
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	if err := json.Unmarshal(data, &p.Extra); err != nil {
		return err
	}
	for _, k := range known {
		delete(p.Extra, k)
	}
	if len(p.Extra) == 0 {
		p.Extra = nil
	}
	*c = Change(p)
	return nil
}

// marshal is json.Marshal without HTML escapes, which only make diffs longer.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
