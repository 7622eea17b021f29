package eventtest

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

// discard is a response that is thrown away, so that a benchmark counts the
// handler's work alone.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// ServeOnce runs a handler on one request with body; it has to continue.
func ServeOnce(t testing.TB, h http.Handler, r *http.Request, body []byte) {
	in := *r
	in.Body = io.NopCloser(bytes.NewReader(body))
	w := discard{header: http.Header{}}
	h.ServeHTTP(&w, &in)
	if w.status != http.StatusOK {
		t.Fatal(w.status)
	}
}
