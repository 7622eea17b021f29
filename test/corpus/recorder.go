package main

import (
	"context"
	"maps"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

const (
	// quiet is how long nothing must happen for controllers to be done.
	quiet = 700 * time.Millisecond
	// patience ends a recording that waits for what never comes.
	patience = 60 * time.Second
)

// recorder is the one function of the chain: it keeps every event and stops.
type recorder struct {
	*httptest.Server
	mu     sync.Mutex
	events []event.Event
	// generated are the names that the API server made up, with what they begin with.
	generated map[string]string
}

func newRecorder() *recorder {
	r := &recorder{generated: map[string]string{}}
	r.Server = httptest.NewServer(event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) {
		r.keep(e)
		return nil, event.Stop("recorded")
	}))
	return r
}

func (r *recorder) keep(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	if prefix := generateName(e.Object); prefix != "" {
		r.generated[e.Name] = prefix
	}
}

// count is how many events there have been.
func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}

// since gives the events after the first n that can be of a scenario: those in
// its namespace, of it, and of what has none.
func (r *recorder) since(n int, namespace string) []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.events[n:]), func(e event.Event) bool {
		return e.Namespace != "" && e.Namespace != namespace || e.Kind == "Namespace" && e.Name != namespace
	})
}

// settle waits until the controllers have nothing left to do in a namespace.
func (r *recorder) settle(ctx context.Context, namespace string) error {
	n, last := r.count(), time.Now()
	return await(ctx, func() bool {
		next := r.count()
		events := r.since(n, namespace)
		n = next
		for _, e := range events {
			if e.Kind != "Event" && e.Kind != "HorizontalPodAutoscaler" { // some come for ever
				last = time.Now()
			}
		}
		return time.Since(last) > quiet
	})
}

// await asks ok again and again until it holds.
func await(ctx context.Context, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// names are those that the API server made up so far.
func (r *recorder) names() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.generated)
}
