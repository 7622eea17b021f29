package model

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// The endpoints of a run: two that pass on, two that a chain ends with, and the
// dead letter.
const (
	passOne = "/pass-1"
	passTwo = "/pass-2"
	endOne  = "/end-1"
	endTwo  = "/end-2"
	letters = "/letters"
)

// sinks are all endpoints of a run. What the last ones accept is told.
type sinks struct {
	*httptest.Server
	quit chan struct{}

	mu      sync.Mutex
	told    []Telling
	passed  map[string]bool // ids that the first endpoint passed on
	moods   map[string]mood // of an endpoint
	objects map[Key]mood    // of one object, at the last endpoints
	refused int             // 400
	errs    []string
}

// mood is how an endpoint answers.
type mood int

const (
	well mood = iota
	unavailable
	hanging
	resetting
	limiting
	refusing
	slow
)

var moodNames = map[mood]string{
	unavailable: "answers 503", hanging: "hangs", resetting: "resets", limiting: "answers 429", refusing: "answers 400", slow: "is slow",
}

func newSinks(t *testing.T) *sinks {
	t.Helper()
	s := &sinks{quit: make(chan struct{}), passed: map[string]bool{}, moods: map[string]mood{}, objects: map[Key]mood{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		close(s.quit)
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *sinks) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // a watcher that was killed
	}
	e, err := event.Decode(r.Header, body)
	if err != nil {
		s.trouble(fmt.Sprintf("no event: %v", err))
		w.WriteHeader(http.StatusNoContent)
		return
	}
	t := tellingOf(&e)
	if !s.answers(w, r, s.mood(r.URL.Path, t.Of)) {
		return
	}
	switch r.URL.Path {
	case passOne, passTwo:
		s.pass(w, r, body, e.ID)
	case endOne, endTwo, letters:
		s.accept(t)
		w.WriteHeader(http.StatusNoContent)
	default:
		s.trouble("posted to " + r.URL.Path)
	}
}

// mood is that of an endpoint for an object.
func (s *sinks) mood(path string, of Key) mood {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.moods[path]
	if (path == endOne || path == endTwo) && m == well {
		m = s.objects[of]
	}
	if m == refusing {
		s.refused++
	}
	return m
}

// answers has an endpoint answer by its mood; true: it accepts.
func (s *sinks) answers(w http.ResponseWriter, r *http.Request, m mood) bool {
	switch m {
	case unavailable:
		http.Error(w, "not today", http.StatusServiceUnavailable)
	case refusing:
		http.Error(w, "not this one", http.StatusBadRequest)
	case limiting:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	case hanging:
		select {
		case <-s.quit:
		case <-r.Context().Done():
		case <-time.After(time.Minute):
		}
		http.Error(w, "too late", http.StatusServiceUnavailable)
	case resetting:
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = conn.Close()
		}
	case slow:
		select {
		case <-s.quit:
		case <-time.After(300 * time.Millisecond):
		}
		return true
	default:
		return true
	}
	return false
}

// pass answers as a function that lets everything continue.
func (s *sinks) pass(w http.ResponseWriter, r *http.Request, body []byte, id string) {
	if r.URL.Path == passOne {
		s.mu.Lock()
		s.passed[id] = true
		s.mu.Unlock()
	}
	again := r.Clone(r.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) { return &e, nil }).ServeHTTP(w, again)
}

func (s *sinks) accept(t Telling) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.At = time.Now()
	s.told = append(s.told, t)
	if !s.passed[t.ID] {
		s.errs = append(s.errs, t.ID+" came to the end without the first step")
	}
}

func (s *sinks) trouble(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, text)
}

// be sets the mood of an endpoint.
func (s *sinks) be(path string, m mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moods[path] = m
}

// beFor sets the mood for one object.
func (s *sinks) beFor(of Key, m mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[of] = m
}

// got is what was told so far, of the set-up's namespaces.
func (s *sinks) got(watched map[string]bool) (told []Telling, errs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.told {
		if watched[t.Of.Namespace] {
			told = append(told, t)
		}
	}
	return told, append([]string{}, s.errs...)
}

var resourceOf = map[string]string{"ConfigMap": "configmaps", "Widget": "widgets." + group}

// tellingOf is what the judge needs of an event.
func tellingOf(e *event.Event) Telling {
	version := func(raw json.RawMessage) string {
		var m struct {
			Metadata struct{ UID, ResourceVersion string }
		}
		if len(raw) == 0 || json.Unmarshal(raw, &m) != nil {
			return ""
		}
		return m.Metadata.UID + "." + m.Metadata.ResourceVersion
	}
	t := Telling{
		ID: e.ID, Of: Key{resourceOf[e.Kind], e.Namespace, e.Name}, Via: e.Via, Epoch: -1,
		Old: version(e.OldObject), Now: version(e.Object),
	}
	if n, err := strconv.ParseInt(e.Extensions["epoch"], 10, 64); err == nil {
		t.Epoch = n
	}
	return t
}
