package e2e

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/kwatchman/kwatchman/event"
)

// recorder is a function that keeps every event it gets.
type recorder struct {
	*httptest.Server
	mu     sync.Mutex
	events []event.Event
}

// record runs a recorder; before, if not nil, is called for each event before
// it is kept.
func record(t *testing.T, before func(event.Event)) *recorder {
	t.Helper()
	r := &recorder{}
	r.Server = httptest.NewServer(event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) {
		if before != nil {
			before(e)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
		return &e, nil
	}))
	t.Cleanup(r.Close)
	return r
}

// got gives the events so far, of one object if it is named.
func (r *recorder) got(name string) []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []event.Event
	for _, e := range r.events {
		if name == "" || e.Name == name {
			out = append(out, e)
		}
	}
	return out
}

// await waits until there are n events of an object and gives them.
func (r *recorder) await(t *testing.T, name string, n int) []event.Event {
	t.Helper()
	eventually(t, func() bool { return len(r.got(name)) >= n }, "%d events of %q, got %d", n, name, len(r.got(name)))
	return r.got(name)
}

func actions(events []event.Event) []event.Action {
	out := make([]event.Action, len(events))
	for i, e := range events {
		out[i] = e.Action
	}
	return out
}

// raw keeps every byte that an endpoint receives, so that a test can say what
// was in it, and stops the chain.
type raw struct {
	*httptest.Server
	mu    sync.Mutex
	bytes bytes.Buffer
	posts int
}

func recordRaw(t *testing.T) *raw {
	t.Helper()
	r := &raw{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		_ = req.Write(&r.bytes)
		r.posts++
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *raw) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes.String()
}
