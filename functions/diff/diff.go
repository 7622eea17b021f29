// Package diff is the function that says what changed: it compares the two
// manifests of an event without the fields that Kubernetes itself writes,
// stops the chain where nothing else is left, and fills the event's diff and,
// as a unified diff of YAML, its payload.
//
// The diff leads from the old manifest to the new one. Of an Add the patch is
// the whole cleaned object and of a Delete there is none (a merge patch cannot
// take a document away); of both the list of changed fields is empty, for the
// object came or went as a whole.
//
// Everything it adds is bounded: see the limits in limits.go.
package diff

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kwatchman/kwatchman/event"
)

// ContentType is that of the payload.
const ContentType = "text/x-diff; charset=utf-8"

// Config holds the settings of the function. It has none yet.
type Config struct{}

// New returns the function, ready to use.
func New(Config) (event.Handler, error) { return handle, nil }

// handle answers one event. A manifest that is not one is a permanent error.
func handle(ctx context.Context, e event.Event) (*event.Event, error) {
	p, err := decode(&e)
	if err != nil {
		return nil, event.Permanent(err)
	}
	limits := limitsFor(&e)
	found := compare(p.old, p.new, limits.changes)
	if e.Action == event.Update && found.total == 0 {
		return nil, event.Stop(p.quietReason())
	}
	// What follows takes milliseconds for the largest manifests, so a caller
	// that has gone is noticed before each step.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := &event.Diff{Summary: "created", Changes: []event.FieldChange{}}
	switch e.Action {
	case event.Delete:
		out.Summary = "deleted"
	case event.Update:
		out.Summary = found.summary()
		out.Changes, out.Omitted = found.changes, found.omitted()
	}
	if out.Patch, err = mergePatch(p.old, p.new, limits.patch); err != nil {
		return nil, event.Permanent(err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	text := unified(e.Subject, p.old, p.new, limits.text)
	e.Diff, e.Payload = out, event.TextPayload(ContentType, text)
	return &e, nil
}

// pair holds the two cleaned manifests, nil where there is none.
type pair struct {
	old, new map[string]any
	// was and is are what of the manifests Clean may take away.
	was, is map[string]any
}

func decode(e *event.Event) (pair, error) {
	var p pair
	var err error
	switch e.Action {
	case event.Add:
		p.new, err = decodeOne("object", e.Object)
	case event.Delete:
		p.old, err = decodeOne("oldObject", e.OldObject)
	default:
		p.old, p.new, err = event.DecodeManifests(e.OldObject, e.Object)
		p.old, p.new = orEmpty(p.old), orEmpty(p.new)
		p.was, p.is = keepNoise(p.old), keepNoise(p.new)
	}
	event.Clean(p.old)
	event.Clean(p.new)
	return p, err
}

func decodeOne(name string, raw json.RawMessage) (map[string]any, error) {
	m, err := event.DecodeManifest(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return orEmpty(m), nil
}

// orEmpty stands in for a manifest that is present, as the action says, but
// JSON null.
func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
