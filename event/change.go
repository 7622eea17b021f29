package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Change is the data of an event. Of an event that was decoded, the raw members
// are slices of the message's body: who changes one puts another in its place.
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

// FieldChange is one field that was added, removed or replaced, or a list whose
// items changed places.
type FieldChange struct {
	Op   string `json:"op"` // "add", "remove", "replace", or "reorder" of a list whose order counts
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

// Who names the field managers in one line, with the subresource they wrote
// to: "kubectl (scale), argocd". It is empty when Kubernetes recorded nobody.
func (c *Change) Who() string {
	names := make([]string, len(c.ChangedBy))
	for i, m := range c.ChangedBy {
		names[i] = m.Manager
		if m.Subresource != "" {
			names[i] += " (" + m.Subresource + ")"
		}
	}
	return strings.Join(names, ", ")
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

// UnmarshalJSON keeps the numbers of From and To digit by digit, so that a
// change passes through a function unharmed.
func (f *FieldChange) UnmarshalJSON(data []byte) error {
	type plain FieldChange
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return dec.Decode((*plain)(f))
}
