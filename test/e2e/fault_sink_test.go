package e2e

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// sink keeps every event that it accepts. While it is broken, a function
// answers for it.
type sink struct {
	*httptest.Server
	t    *testing.T
	quit chan struct{}
	pass bool // the chain goes on behind it

	mu       sync.Mutex
	arrivals []arrival
	at       []time.Time
	attempts int
	broken   func(s *sink, w http.ResponseWriter, e event.Event) (accept bool)
}

func newSink(t *testing.T, broken func(*sink, http.ResponseWriter, event.Event) bool) *sink {
	t.Helper()
	s := &sink{t: t, quit: make(chan struct{}), broken: broken}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.Start()
	t.Cleanup(func() {
		close(s.quit)
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *sink) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // a watcher that was killed
	}
	e, err := event.Decode(r.Header, body)
	if err != nil {
		s.t.Errorf("no event: %v", err)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.mu.Lock()
	s.attempts++
	broken := s.broken
	s.mu.Unlock()
	if broken != nil && !broken(s, w, e) {
		return
	}
	s.mu.Lock()
	s.arrivals, s.at = append(s.arrivals, arrived(e)), append(s.at, time.Now())
	s.mu.Unlock()
	if !s.pass {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) { return &e, nil }).ServeHTTP(w, again(r, body))
}

// again is a request whose body was read.
func again(r *http.Request, body []byte) *http.Request {
	out := r.Clone(r.Context())
	out.Body = io.NopCloser(bytes.NewReader(body))
	return out
}

// mend makes it accept everything, or breaks it.
func (s *sink) mend(broken func(*sink, http.ResponseWriter, event.Event) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

func (s *sink) got() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]arrival{}, s.arrivals...)
}

// good tells whether an object is one that the broken sinks accept.
func good(name string) bool { return strings.HasSuffix(name, "0") || strings.HasSuffix(name, "5") }

// unless breaks a sink for the objects that are not good.
func unless(broken func(*sink, http.ResponseWriter, event.Event)) func(*sink, http.ResponseWriter, event.Event) bool {
	return func(s *sink, w http.ResponseWriter, e event.Event) bool {
		if good(e.Name) {
			return true
		}
		broken(s, w, e)
		return false
	}
}

func answer(status int) func(*sink, http.ResponseWriter, event.Event) {
	return func(_ *sink, w http.ResponseWriter, _ event.Event) { http.Error(w, "not today", status) }
}

// hang never answers.
func hang(s *sink, w http.ResponseWriter, _ event.Event) {
	<-s.quit
	answer(http.StatusServiceUnavailable)(s, w, event.Event{})
}

// reset breaks the connection.
func reset(s *sink, w http.ResponseWriter, _ event.Event) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		s.t.Error(err)
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// busy accepts one of ten and asks the others to come later.
func busy(s *sink, w http.ResponseWriter, _ event.Event) bool {
	s.mu.Lock()
	tenth := s.attempts%10 == 0
	s.mu.Unlock()
	if !tenth {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	return tenth
}
