package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// sink is the endpoints: /sink, where a chain ends, and /step, which lets an
// event go on as it came.
type sink struct {
	server *http.Server
	url    string
	served chan struct{}

	mu       sync.Mutex
	arrivals *arrivals
	gate     chan struct{} // closed: it answers
}

func startSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{url: "http://" + l.Addr().String(), served: make(chan struct{}), arrivals: newArrivals(), gate: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sink", s.receive)
	mux.HandleFunc("POST /step", echo)
	mux.HandleFunc("POST /slack", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	s.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // of clients that were ended
	}
	go func() {
		defer close(s.served)
		_ = s.server.Serve(l) // ends with close; what does not arrive is noticed
	}()
	return s, nil
}

func (s *sink) close() {
	_ = s.server.Close()
	<-s.served
}

// reset begins anew; hanging: it takes events and answers none until open.
func (s *sink) reset(hanging bool) *arrivals {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrivals, s.gate = newArrivals(), make(chan struct{})
	if !hanging {
		close(s.gate)
	}
	return s.arrivals
}

// open has the sink answer, also those that wait.
func (s *sink) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.gate:
	default:
		close(s.gate)
	}
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (s *sink) receive(w http.ResponseWriter, r *http.Request) {
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	if _, err := b.ReadFrom(r.Body); err != nil {
		return // the client has gone
	}
	at := time.Now()
	s.mu.Lock()
	arrivals, gate := s.arrivals, s.gate
	s.mu.Unlock()
	select {
	case <-gate:
	case <-r.Context().Done():
		return
	}
	version, err := versionOf(r.Header.Get("Ce-Id"), b.Bytes())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	arrivals.note(version, at)
	w.WriteHeader(http.StatusNoContent)
}

// versionOf is the resourceVersion of the new object: it stands in the id of an
// event, and in what the informer posts it is the greater of the two.
func versionOf(id string, body []byte) (string, error) {
	if id != "" {
		parts := strings.Split(id, ".")
		if len(parts) != 3 {
			return "", errors.New("the id is not <uid>.<resourceVersion>.<action>")
		}
		return parts[1], nil
	}
	key, found := []byte(`"resourceVersion":"`), ""
	for {
		_, rest, ok := bytes.Cut(body, key)
		if !ok {
			break
		}
		v, _, _ := bytes.Cut(rest, []byte(`"`))
		if len(v) > len(found) || len(v) == len(found) && string(v) > found {
			found = string(v)
		}
		body = rest
	}
	if found == "" {
		return "", errors.New("no resourceVersion")
	}
	return found, nil
}

// echo is the least that a step can do.
func echo(w http.ResponseWriter, r *http.Request) {
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	if _, err := b.ReadFrom(r.Body); err != nil {
		return
	}
	for name, values := range maps.All(r.Header) {
		if strings.HasPrefix(name, "Ce-") || name == "Content-Type" {
			w.Header()[name] = values
		}
	}
	w.Header().Set("Ce-Continue", "true")
	_, _ = w.Write(b.Bytes())
}
