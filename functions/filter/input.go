package filter

import (
	"encoding/json"
	"strconv"

	"github.com/kwatchman/kwatchman/event"
)

// omitted stands in paths for the changes that diff has left out of its list.
const omitted = "(omitted)"

// newInput is what the rules see of an event, as far as they look at it.
func newInput(e *event.Event, of needs) (map[string]any, error) {
	in := map[string]any{
		"action": string(e.Action), "cluster": e.Cluster, "apiVersion": e.APIVersion, "kind": e.Kind,
		inside: e.Namespace, "name": e.Name, "subject": e.Subject, "via": e.Via, "time": e.Time,
	}
	if of["object"] || of["oldObject"] {
		before, after, err := event.DecodeManifests(e.OldObject, e.Object)
		if err != nil {
			return nil, err
		}
		in["object"], in["oldObject"] = manifest(after), manifest(before)
	}
	if of["changedBy"] {
		in["changedBy"] = managers(e.ChangedBy)
	}
	if of["payload"] {
		in["payload"] = e.Payload.Text()
	}
	if of.diff() && e.Diff != nil {
		in["diff"], in["paths"] = diff(e.Diff, of["diff"]), paths(e.Diff)
		if of[within] {
			in[within] = pathsWithin(e.Diff)
		}
	}
	return in, nil
}

// manifest is one in CEL's types, empty where there is none.
func manifest(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	numbers(m)
	return m
}

// numbers replaces json.Number in place: whole numbers are int, so that
// object.spec.replicas > 3 is what it looks like, others are double.
func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			switch value.(type) {
			case json.Number, map[string]any, []any:
				v[key] = numbers(value)
			}
		}
	case []any:
		for i, value := range v {
			v[i] = numbers(value)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return n
		}
		if n, err := v.Float64(); err == nil {
			return n
		}
		return v.String() // beyond double
	}
	return v
}

func managers(all []event.Manager) []map[string]any {
	out := make([]map[string]any, len(all))
	for i, m := range all {
		out[i] = map[string]any{"manager": m.Manager, "operation": m.Operation, "subresource": m.Subresource}
		if m.Time != nil {
			out[i]["time"] = *m.Time
		}
	}
	return out
}

// diff is what the diff function said; whole tells whether more than the
// summary is asked for.
func diff(d *event.Diff, whole bool) map[string]any {
	out := map[string]any{"summary": d.Summary}
	if !whole {
		return out
	}
	changes := make([]map[string]any, len(d.Changes))
	for i, c := range d.Changes {
		changes[i] = map[string]any{"op": c.Op, "path": c.Path}
		if c.From != nil {
			changes[i]["from"] = numbers(copied(c.From))
		}
		if c.To != nil {
			changes[i]["to"] = numbers(copied(c.To))
		}
	}
	var patch map[string]any
	if len(d.Patch) > 0 {
		patch, _ = event.DecodeManifest(d.Patch) // not of our diff function, if it is none
	}
	out["changes"], out["omitted"], out["patch"] = changes, int64(d.Omitted), manifest(patch)
	return out
}

// copied is a value that may be changed: the event goes on with its own.
func copied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = copied(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = copied(value)
		}
		return out
	}
	return v
}

func paths(d *event.Diff) []string {
	out := make([]string, len(d.Changes), len(d.Changes)+1)
	for i, c := range d.Changes {
		out[i] = c.Path
	}
	if d.Omitted > 0 {
		out = append(out, omitted)
	}
	return out
}

// within is the variable of changed: the paths, and those of all that came or
// went with an object or an item as a whole. No expression can name it.
const within = "@within"

// maxWithin bounds them.
const maxWithin = 20_000

func pathsWithin(d *event.Diff) []string {
	out := paths(d)
	for _, c := range d.Changes {
		for _, whole := range []any{c.From, c.To} {
			if c.Op == "add" || c.Op == "remove" {
				out = below(out, c.Path, whole)
			}
		}
	}
	return out
}

// below appends the paths of what is in a value.
func below(out []string, path string, v any) []string {
	if len(out) >= maxWithin {
		return out
	}
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			out = below(append(out, path+"."+key), path+"."+key, value)
		}
	case []any:
		for i, value := range v {
			at := path + "[" + strconv.Itoa(i) + "]"
			out = below(append(out, at), at, value)
		}
	}
	return out
}
