package main

import (
	"bytes"
	"encoding/json"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/kwatchman/kwatchman/event"
)

// pick is an event to keep.
type pick struct {
	file string // what is added to the scenario's name; empty for the first
	// event is the first one like this: "[Add|Delete] Kind/name [path [text]]". The
	// name is a pattern as of a shell. The path, with dots, is one that changed; text
	// is what only the new manifest has.
	event string
	note  string // a second line of the comment
}

// one keeps one event.
func one(event string) []pick { return []pick{{event: event}} }

func (p pick) matches(e event.Event) bool {
	words := strings.Fields(p.event)
	action := event.Update
	if words[0] == string(event.Add) || words[0] == string(event.Delete) {
		action, words = event.Action(words[0]), words[1:]
	}
	kind, name, _ := strings.Cut(words[0], "/")
	if ok, err := path.Match(name, e.Name); err != nil || !ok || e.Kind != kind || e.Action != action {
		return false
	}
	if len(words) == 3 && (strings.Contains(string(e.OldObject), words[2]) || !strings.Contains(string(e.Object), words[2])) {
		return false
	}
	return len(words) == 1 || slices.ContainsFunc(changedPaths(e), func(changed string) bool {
		return changed == words[1] || strings.HasPrefix(changed, words[1]+".")
	})
}

// changedPaths are the paths of an update below which a value differs; lists are
// not looked into.
func changedPaths(e event.Event) []string {
	if e.Action != event.Update {
		return nil
	}
	return differences("", decode(e.OldObject), decode(e.Object))
}

func differences(at string, a, b any) []string {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	before, ok := a.(map[string]any)
	after, ok2 := b.(map[string]any)
	if !ok || !ok2 {
		return []string{at}
	}
	keys := map[string]bool{}
	for k := range before {
		keys[k] = true
	}
	for k := range after {
		keys[k] = true
	}
	var out []string
	for k := range keys {
		out = append(out, differences(strings.TrimPrefix(at+"."+k, "."), before[k], after[k])...)
	}
	slices.Sort(out)
	return out
}

// decode keeps numbers digit by digit; nil for no manifest.
func decode(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil // the watcher sends none like this
	}
	return v
}

func generateName(raw json.RawMessage) string {
	var o struct{ Metadata struct{ GenerateName string } }
	_ = json.Unmarshal(raw, &o)
	return o.Metadata.GenerateName
}
