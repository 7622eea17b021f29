package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// pairs is how many recorded changes are posted to diff, again and again.
const pairs = 200

// keepPairs makes events of the first changes of as many objects.
func (rec *recording) keepPairs() error {
	old := map[string]int{}
	for i, o := range rec.objects {
		old[o.name] = i
	}
	for _, e := range rec.events {
		i, first := old[e.name]
		if !first {
			continue // what the object was before is known of its first change only
		}
		delete(old, e.name)
		made, err := newEvent(rec.objects[i].json, e.line)
		if err != nil {
			return fmt.Errorf("make an event of a recorded change: %w", err)
		}
		if rec.pairs = append(rec.pairs, made); len(rec.pairs) == pairs {
			break
		}
	}
	return nil
}

func newEvent(before, line []byte) (event.Event, error) {
	var e event.Event
	var in struct{ Object json.RawMessage }
	if err := json.Unmarshal(line, &in); err != nil {
		return e, err
	}
	var m struct {
		Metadata struct{ Name, Namespace, UID, ResourceVersion string }
	}
	if err := json.Unmarshal(in.Object, &m); err != nil {
		return e, err
	}
	var err error
	e.Action = event.Update
	if e.OldObject, err = manifest(before); err != nil {
		return e, err
	}
	if e.Object, err = manifest(in.Object); err != nil {
		return e, err
	}
	o := m.Metadata
	e.ID, e.Source = event.NewID(o.UID, o.ResourceVersion, e.Action), event.NewSource("bench")
	e.Subject = event.NewSubject("apps", "v1", "deployments", o.Namespace, o.Name)
	e.Cluster, e.APIVersion, e.Kind, e.Namespace, e.Name = "bench", "apps/v1", "Deployment", o.Namespace, o.Name
	e.PartitionKey, e.Via, e.Time = e.Subject, event.ViaWatch, time.Now()
	return e, e.Validate()
}

// measureDiff posts recorded changes to the diff function, one after the other.
func (b *bench) measureDiff(ctx context.Context) error {
	p, url, err := b.startFunction(ctx, "diff")
	if err != nil {
		return err
	}
	defer p.kill()
	send := func(i int) error {
		e := b.pair(i)
		return post(ctx, http.DefaultClient, url, &e)
	}
	for i := range 50 { // what a first event costs once
		if err := send(i); err != nil {
			return err
		}
	}
	before, err := p.quiet(ctx)
	if err != nil {
		return err
	}
	took, size := make([]time.Duration, b.opts.posts), 0
	for i := range took {
		e := b.pair(i)
		size += len(e.Object) + len(e.OldObject)
		began := time.Now()
		if err := send(i); err != nil {
			return err
		}
		took[i] = time.Since(began)
	}
	after, err := p.quiet(ctx)
	if err != nil {
		return err
	}
	m, err := p.memory()
	q := quantilesOf(took)
	t := table{
		title: "The diff function",
		note:  fmt.Sprintf("%s recorded changes posted one after the other; old and new together %d bytes on average.", thousands(len(took)), size/len(took)),
		head:  []string{"CPU per event", "p50", "p99", "peak RSS"},
	}
	t.add(millis((after-before)/time.Duration(len(took))), millis(q.p50), millis(q.p99), megabytes(m.peak))
	b.report.tables = append(b.report.tables, t)
	return err
}
