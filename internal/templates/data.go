package templates

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	template "github.com/DataDog/datadog-agent/pkg/template/text"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/suggest"
)

// NotRecorded stands for the manager where Kubernetes wrote none down.
const NotRecorded = "not recorded"

// Data is what a template sees of an event. On a Delete, Object is what the
// object last was, so that one template serves all actions.
type Data map[string]any

// NewData is the data of e, but for the manifests, which decodeObjects fills
// in. Without an event all fields are empty.
func NewData(e *event.Event, cluster string) Data {
	if e == nil {
		e = &event.Event{}
	}
	diff := map[string]any{"Summary": "", "Changes": []any{}}
	if e.Diff != nil {
		changes := make([]any, len(e.Diff.Changes))
		for i, c := range e.Diff.Changes {
			changes[i] = map[string]any{"Op": c.Op, "Path": c.Path, "From": c.From, "To": c.To}
		}
		diff = map[string]any{"Summary": e.Diff.Summary, "Changes": changes}
	}
	managers := make([]any, len(e.ChangedBy))
	for i, m := range e.ChangedBy {
		managers[i] = map[string]any{"Manager": m.Manager, "Operation": m.Operation, "Subresource": m.Subresource}
		if m.Time != nil {
			managers[i].(map[string]any)["Time"] = *m.Time
		}
	}
	return Data{
		"Action": string(e.Action), "APIVersion": e.APIVersion, "Kind": e.Kind, "Namespace": e.Namespace, "Name": e.Name,
		"Cluster": cluster, "Subject": e.Subject, "ID": e.ID, "Source": e.Source, "Time": e.Time, "Via": e.Via,
		"Title": e.Title(), "Who": cmp.Or(e.Who(), NotRecorded), "ChangedBy": managers, "Diff": diff, "Payload": e.Payload.Text(),
		"Object": e.Object, "OldObject": e.OldObject,
	}
}

// Text is a field that is text.
func (d Data) Text(name string) string {
	s, _ := d[name].(string)
	return s
}

// decodeObjects replaces the manifests, which most templates do not look at, by
// what they hold.
func (d Data) decodeObjects() error {
	for _, name := range []string{"OldObject", "Object"} {
		raw, ok := d[name].(json.RawMessage)
		if !ok {
			continue // decoded already
		}
		m, err := event.DecodeManifest(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if m == nil && name == "Object" {
			m, _ = d["OldObject"].(map[string]any)
		}
		d[name] = m
	}
	return nil
}

// functions are what templates may call besides those of text/template.
var functions = template.FuncMap{
	"get":        get,
	"called":     called,
	"index":      index,
	"default":    func(instead, v any) any { return or(v, instead) },
	"lower":      func(v any) string { return strings.ToLower(Text(v)) },
	"pathescape": func(v any) string { return url.PathEscape(Text(v)) },
	"urlquery":   func(v any) string { return url.QueryEscape(Text(v)) },
	"replace":    func(from, to string, v any) string { return strings.ReplaceAll(Text(v), from, to) },
	"match":      func(pattern string, v any) (bool, error) { return regexp.MatchString(pattern, Text(v)) },
	"items":      items,
	"plain":      Text,
}

// get reads a field of a field of v. Where one is missing it is "".
func get(v any, names ...string) any {
	for _, name := range names {
		m, ok := asMap(v)
		if !ok {
			v = field(v, name)
		} else {
			v = m[name]
		}
	}
	return or(v, "")
}

// asMap tells whether v is a map of fields.
func asMap(v any) (map[string]any, bool) {
	switch m := v.(type) {
	case map[string]any:
		return m, true
	case Data:
		return m, true
	}
	return nil, false
}

// field is a value that a time has, such as .Time.Unix; nil if it has none of
// this name. Values have no methods here: a template that could call any would
// make the linker keep every one, which is a quarter of a function's size.
func field(v any, name string) any {
	t, ok := v.(time.Time)
	if !ok {
		return nil
	}
	switch name {
	case "Unix":
		return t.Unix()
	case "UnixMilli":
		return t.UnixMilli()
	case "UnixNano":
		return t.UnixNano()
	case "Year":
		return t.Year()
	case "Month":
		return t.Month()
	case "Day":
		return t.Day()
	case "YearDay":
		return t.YearDay()
	case "Weekday":
		return t.Weekday()
	case "Hour":
		return t.Hour()
	case "Minute":
		return t.Minute()
	case "Second":
		return t.Second()
	case "UTC":
		return t.UTC()
	case "Local":
		return t.Local()
	case "String":
		return t.String()
	}
	return nil
}

// called is a field with an argument, of which a time has one: .Time.Format "15:04".
func called(v any, name string, args ...any) (any, error) {
	if t, ok := v.(time.Time); ok && name == "Format" && len(args) == 1 {
		if layout, ok := args[0].(string); ok {
			return t.Format(layout), nil
		}
	}
	return nil, fmt.Errorf("%s takes no argument, or is none of what can be called: .Time.Format", suggest.Word(name))
}

// index is the one of text/template, for which what is missing is "" too.
func index(v any, keys ...any) any {
	for _, key := range keys {
		switch k := key.(type) {
		case string:
			v = get(v, k)
		case int:
			list, ok := v.([]any)
			if !ok || k < 0 || k >= len(list) {
				return ""
			}
			v = list[k]
		default:
			return ""
		}
	}
	return or(v, "")
}

// items is what a range goes over: nothing, where there is nothing.
func items(v any) any {
	if v == nil || v == "" {
		return []any{}
	}
	return v
}

// or is v, unless it is nothing.
func or(v, instead any) any {
	if n, ok := v.(json.Number); ok {
		return number(n)
	}
	if v == nil || v == "" {
		return instead
	}
	return v
}

// number is a number that a template can compare, if its digits survive that.
func number(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return int(i)
	}
	if f, err := n.Float64(); err == nil && fmt.Sprint(f) == n.String() {
		return f
	}
	return n.String()
}

// Text is a value in the words of its manifest.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case map[string]any, []any:
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if enc.Encode(v) == nil {
			return strings.TrimSuffix(b.String(), "\n")
		}
	}
	return fmt.Sprint(v)
}
