// Package diff is the function that says what changed: it compares the two
// manifests of an event without what machines write, stops the chain where
// nothing else is left, and fills the event's diff and, as a unified diff of
// YAML, its payload. The items of a list are compared by what they are known
// by, so that one that is inserted does not shift the rest.
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

// Config is what diff reads from DIFF_*.
type Config struct {
	// Ignore lists paths whose changes are held back, with wildcards; see
	// pattern.
	Ignore []string `split_words:"true" desc:"paths that are no news, such as spec.template.spec.containers[*].image"`
	// Show lists the parts of the noise policy that are shown after all.
	Show []string `split_words:"true" desc:"noise to show: metadata, status, leader-election, checksums, autoscaling, order, ignored, or all"`
	// Autoscalers lists more field managers whose spec.replicas are no news.
	Autoscalers []string `split_words:"true" desc:"more field managers whose replicas are no news; name, or name/subresource"`
}

// New returns the function, ready to use. A path that cannot be read and a part
// that does not exist are errors.
func New(cfg Config) (event.Handler, error) {
	p, err := newPolicy(cfg)
	if err != nil {
		return nil, err
	}
	return p.handle, nil
}

// handle answers one event. A manifest that is not one is a permanent error.
func (p *policy) handle(ctx context.Context, e event.Event) (*event.Event, error) {
	m, err := decode(&e)
	if err != nil {
		return nil, event.Permanent(err)
	}
	if err := p.apply(&e, &m); err != nil {
		return nil, event.Stop(err.Error())
	}
	limits := limitsFor(&e)
	// What follows takes milliseconds for the largest manifests, so a caller
	// that has gone is noticed before each step.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	old, now := withoutBytes(m.old), withoutBytes(m.new)
	out := &event.Diff{Summary: "created", Changes: []event.FieldChange{}}
	switch e.Action {
	case event.Delete:
		out.Summary = "deleted"
	case event.Update:
		found := compare(old, now, limits.changes, p.shows(partOrder))
		if found.total == 0 {
			return nil, event.Stop(m.held.reason(found.reordered))
		}
		out.Summary, now = found.summary(), found.aligned
		out.Changes, out.Omitted = found.changes, found.omitted()
	}
	if out.Patch, err = mergePatch(m.old, m.new, limits.patch); err != nil {
		return nil, event.Permanent(err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	text := unified(e.Subject, old, now, limits.text)
	e.Diff, e.Payload = out, event.TextPayload(ContentType, text)
	return &e, nil
}

// pair holds the two manifests, nil where there is none.
type pair struct {
	old, new map[string]any
	held     held
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
	}
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
