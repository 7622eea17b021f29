package chain

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// local answers the requests of one step with a handler of this process: the
// wire's contract without the wire. What a server does is done here too: a
// panic is a failed request, and who does not wait for the answer does not
// hold the caller up.
type local struct {
	name    string
	handler http.Handler
	log     *slog.Logger
	slots   chan struct{} // one for each request in work
	working sync.WaitGroup
}

// leaveTimeout is how long close waits for a handler that does not heed the
// end of its context, such as one that writes to a pipe nobody reads.
const leaveTimeout = 2 * time.Second

func newLocal(name string, h http.Handler, cfg Config) *local {
	return &local{name: name, handler: h, log: cfg.Logger, slots: make(chan struct{}, max(1, cfg.Concurrency))}
}

// RoundTrip calls the handler. A handler that does not answer in time keeps
// its slot until it does, so that those left behind are bounded.
func (l *local) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		_ = r.Body.Close() // a round tripper closes the body, also when it fails
		return nil, ctx.Err()
	}
	answered := make(chan *localAnswer, 1)
	l.working.Go(func() {
		defer func() { <-l.slots }()
		answered <- l.serve(r)
	})
	select {
	case a := <-answered:
		if a.failed != nil {
			return nil, a.failed
		}
		return a.response(r), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *local) serve(r *http.Request) (a *localAnswer) {
	a = &localAnswer{header: http.Header{}}
	defer func() {
		_ = r.Body.Close() // in memory
		if p := recover(); p != nil {
			a = &localAnswer{failed: errors.New("the function panicked")}
			if p != http.ErrAbortHandler { //nolint:errorlint // the value itself is thrown
				// Not the value, which may hold a part of a manifest.
				l.log.Error("function panicked", "step", l.name, "stack", string(debug.Stack()))
			}
		}
	}()
	in := r.Clone(r.Context())
	in.RequestURI, in.RemoteAddr, in.Host = r.URL.RequestURI(), "built-in", r.URL.Host
	l.handler.ServeHTTP(a, in)
	return a
}

// close waits for what is still in work, whose context has ended.
func (l *local) close() {
	done := make(chan struct{})
	go func() {
		l.working.Wait()
		close(done)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		l.log.Warn("function did not come to its end", "step", l.name)
	}
}

// localAnswer is the http.ResponseWriter of a request; it belongs to the handler
// until that returns.
type localAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
	failed error
}

// Header is what the handler sets.
func (a *localAnswer) Header() http.Header { return a.header }

// WriteHeader keeps the first status, as a server does.
func (a *localAnswer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write keeps the body.
func (a *localAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *localAnswer) response(r *http.Request) *http.Response {
	a.WriteHeader(http.StatusOK)
	if a.body.Len() > 0 && a.header.Get("Content-Type") == "" {
		a.header.Set("Content-Type", http.DetectContentType(a.body.Bytes()))
	}
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}
}
