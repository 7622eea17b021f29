package diff

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

func BenchmarkHandle(b *testing.B) {
	for _, c := range []struct {
		name string
		e    event.Event
		stop bool
	}{
		{"changed", eventtest.SampleLarge(false), false},
		{"noise", eventtest.SampleLarge(true), true},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.e.Object) + len(c.e.OldObject)))
			for b.Loop() {
				out, err := handle(b.Context(), c.e)
				if (out == nil) != c.stop {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkServe is the same change with the event's way in and out around it.
func BenchmarkServe(b *testing.B) {
	e := eventtest.SampleLarge(false)
	req, err := event.NewRequest(b.Context(), "http://localhost/", &e)
	require.NoError(b, err)
	body, err := io.ReadAll(req.Body)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		eventtest.ServeOnce(b, event.Handler(handle), req, body)
	}
}

// BenchmarkNext is what comes after: the answer read and sent on.
func BenchmarkNext(b *testing.B) {
	out, err := handle(b.Context(), eventtest.SampleLarge(false))
	require.NoError(b, err)
	req, err := event.NewRequest(b.Context(), "http://localhost/", out)
	require.NoError(b, err)
	header := req.Header
	body, err := io.ReadAll(req.Body)
	require.NoError(b, err)
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := event.Decode(header, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := event.NewRequest(b.Context(), "http://localhost/", out); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A fifth more than was measured; see event.TestFewAllocationsAnEvent.
func TestFewAllocationsADiff(t *testing.T) {
	e, quiet := eventtest.SampleLarge(false), eventtest.SampleLarge(true)
	header, body, err := event.Encode(&e)
	require.NoError(t, err)
	r := &http.Request{Method: http.MethodPost, Header: header, ContentLength: int64(len(body))}
	for name, c := range map[string]struct {
		most int
		run  func()
	}{
		"changed": {1250, func() { _, _ = handle(t.Context(), e) }},
		"quiet":   {900, func() { _, _ = handle(t.Context(), quiet) }},
		"served":  {1415, func() { eventtest.ServeOnce(t, event.Handler(handle), r, body) }},
	} {
		t.Run(name, func(t *testing.T) { eventtest.Allocs(t, c.most, c.run) })
	}
}
