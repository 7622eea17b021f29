package diff

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
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
		r := req.Clone(b.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
		w := httptest.NewRecorder()
		event.Handler(handle).ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}
