package event

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// The members of a change, in the order in which they are read.
var changeMembers = [...]string{"action", "object", "oldObject", "changedBy", "diff", "payload"}

// UnmarshalJSON reads the known members by their exact names, which
// encoding/json alone would match in any case, and keeps the others in Extra.
func (c *Change) UnmarshalJSON(data []byte) error {
	return c.decode(append([]byte(nil), data...)) // data may be used again
}

// decode is UnmarshalJSON for data that nobody writes to any more: the
// manifests are slices of it. One pass checks data and finds the members.
func (c *Change) decode(data []byte) error {
	var out Change
	var known [len(changeMembers)]json.RawMessage
	if !out.split(data, &known) {
		// No JSON or no object: encoding/json says what is wrong. Only null
		// remains, which is an empty one.
		var m map[string]json.RawMessage
		if err := json.Unmarshal(data, &m); err != nil {
			return err
		}
		known, out = [len(changeMembers)]json.RawMessage{}, Change{}
	}
	for i, name := range changeMembers {
		if known[i] == nil {
			continue
		}
		if err := out.read(name, known[i]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	*c = out
	return nil
}

// split finds the known members and puts the others into Extra. Of two members
// of one name the last one counts, as for encoding/json.
func (c *Change) split(data []byte, known *[len(changeMembers)]json.RawMessage) bool {
	return eachMember(data, func(name []byte, plain bool, value json.RawMessage) bool {
		if !plain {
			name = unescape(name)
		}
		for i, n := range changeMembers {
			if string(name) == n {
				known[i] = value
				return true
			}
		}
		if c.Extra == nil {
			c.Extra = map[string]json.RawMessage{}
		}
		c.Extra[string(name)] = value
		return true
	})
}

// read reads one known member.
func (c *Change) read(name string, raw json.RawMessage) error {
	switch name {
	case "action":
		return c.readAction(raw)
	case "object":
		c.Object = raw
	case "oldObject":
		c.OldObject = raw
	case "changedBy":
		return json.Unmarshal(raw, &c.ChangedBy)
	case "diff":
		return c.readDiff(raw)
	case "payload":
		return c.readPayload(raw)
	}
	return nil
}

func (c *Change) readAction(raw json.RawMessage) error {
	for _, a := range [...]Action{Add, Update, Delete} {
		if string(raw) == `"`+string(a)+`"` {
			c.Action = a
			return nil
		}
	}
	return json.Unmarshal(raw, &c.Action)
}

// readDiff keeps the patch, which may be as large as a manifest, out of
// encoding/json. What is not as usual goes there as a whole.
func (c *Change) readDiff(raw json.RawMessage) error {
	var d Diff
	var changes, summary, omitted json.RawMessage
	if fields(raw, field{"summary", &summary}, field{"changes", &changes}, field{"omitted", &omitted}, field{"patch", &d.Patch}) &&
		decodeAll(part{summary, &d.Summary}, part{changes, &d.Changes}, part{omitted, &d.Omitted}) {
		c.Diff = &d
		return nil
	}
	return json.Unmarshal(raw, &c.Diff)
}

// readPayload does the same with a payload's data.
func (c *Change) readPayload(raw json.RawMessage) error {
	var p Payload
	var contentType, base64 json.RawMessage
	if fields(raw, field{"contentType", &contentType}, field{"data", &p.Data}, field{"dataBase64", &base64}) &&
		decodeAll(part{contentType, &p.ContentType}, part{base64, &p.DataBase64}) {
		c.Payload = &p
		return nil
	}
	return json.Unmarshal(raw, &c.Payload)
}

// field is a member by its exact name and where its value goes.
type field struct {
	name string
	to   *json.RawMessage
}

// fields splits an object that holds only members of these names, each at most
// once: all else, such as a name in another case, is for encoding/json, whose
// rules for it are its own.
func fields(raw []byte, want ...field) bool {
	return eachMember(raw, func(name []byte, _ bool, value json.RawMessage) bool {
		for _, f := range want {
			if string(name) == f.name && *f.to == nil {
				*f.to = value
				return true
			}
		}
		return false
	})
}

// part is a piece of JSON, nil for none, and what it is decoded into.
type part struct {
	raw json.RawMessage
	to  any
}

func decodeAll(parts ...part) bool {
	for _, p := range parts {
		if p.raw != nil && json.Unmarshal(p.raw, p.to) != nil {
			return false
		}
	}
	return true
}

// eachMember shows each member of an object to take until that returns false.
// It tells whether data is one JSON object and all of it was taken. plain
// names stand for themselves, others are still escaped.
func eachMember(data []byte, take func(name []byte, plain bool, value json.RawMessage) bool) bool {
	s := scanner{b: data}
	s.space()
	if s.next() != '{' {
		return false
	}
	return s.object(func(begin, end int, plain bool) bool {
		name, at := data[begin:end], s.i
		return s.value() && take(name, plain && utf8.Valid(name), data[at:s.i:s.i])
	}) && s.end()
}

// unescape reads what stands between the quotes of a string that was checked.
func unescape(inner []byte) []byte {
	var s string
	_ = json.Unmarshal([]byte(`"`+string(inner)+`"`), &s)
	return []byte(s)
}
