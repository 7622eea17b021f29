package event_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

// encoded is e as it travels: the request's header and body.
func encoded(t testing.TB, e event.Event) (*http.Request, []byte) {
	t.Helper()
	r, err := event.NewRequest(t.Context(), "http://127.0.0.1:8080/", &e)
	require.NoError(t, err)
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return r, body
}

// passThrough is the function that does nothing.
var passThrough = event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) { return &e, nil })

func BenchmarkNewRequest(b *testing.B) {
	e := eventtest.SampleLarge(false)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.NewRequest(b.Context(), "http://127.0.0.1:8080/", &e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	r, body := encoded(b, eventtest.SampleLarge(false))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.Decode(r.Header, body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHandler(b *testing.B) {
	r, body := encoded(b, eventtest.SampleLarge(false))
	b.ReportAllocs()
	for b.Loop() {
		eventtest.ServeOnce(b, passThrough, r, body)
	}
}

func BenchmarkDecodeManifests(b *testing.B) {
	e := eventtest.SampleLarge(false)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := event.DecodeManifests(e.OldObject, e.Object); err != nil {
			b.Fatal(err)
		}
	}
}

// A fifth more than was measured, so that a step that begins to copy or to
// decode once more is seen, and another release of Go is not.
func TestFewAllocationsAnEvent(t *testing.T) {
	e := eventtest.SampleLarge(false)
	r, body := encoded(t, e)
	for name, c := range map[string]struct {
		most int
		run  func()
	}{
		"NewRequest": {88, func() {
			_, err := event.NewRequest(t.Context(), "http://127.0.0.1:8080/", &e)
			require.NoError(t, err)
		}},
		"Encode": {80, func() {
			_, _, err := event.Encode(&e)
			require.NoError(t, err)
		}},
		"Decode": {60, func() {
			_, err := event.Decode(r.Header, body)
			require.NoError(t, err)
		}},
		"handler": {160, func() { eventtest.ServeOnce(t, passThrough, r, body) }},
		"DecodeManifests": {672, func() {
			_, _, err := event.DecodeManifests(e.OldObject, e.Object)
			require.NoError(t, err)
		}},
	} {
		t.Run(name, func(t *testing.T) { eventtest.Allocs(t, c.most, c.run) })
	}
}
