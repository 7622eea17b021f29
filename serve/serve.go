package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/kwatchman/kwatchman/internal/processors"
)

// Bounds of the server. The idle time is longer than that of the watcher's
// client, so that the client never writes into a connection that is closing.
const (
	maxInFlight   = 64   // events handled at once; further ones wait
	maxOpen       = 1024 // connections: some watchers, each with as many as it delivers at once
	maxHeader     = 64 << 10
	headerTimeout = 10 * time.Second
	bodyTimeout   = time.Minute
	answerTimeout = 2 * time.Minute
	idleTimeout   = 2 * time.Minute
	stopTimeout   = 25 * time.Second // Kubernetes kills after 30 s
)

// Serve answers events on l with h, and /healthz and /readyz, until ctx ends;
// then it finishes the requests in flight. It closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	var inFlight atomic.Int64
	cpus := processors.New(processors.Config{
		Most: maxInFlight, Much: 2, Waiting: func() int { return int(inFlight.Load()) },
	})
	defer cpus.End()
	mux := http.NewServeMux()
	mux.Handle("/", limit(counted(h, &inFlight, cpus), maxInFlight))
	mux.HandleFunc("GET /healthz", ok)
	mux.HandleFunc("GET /readyz", ok)
	server := newServer(mux, headerTimeout, bodyTimeout)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	slog.Info("listening", "address", l.Addr().String())
	cpus.Calm()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	// The requests in flight outlive ctx, for as long as the stop may take.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.Join(fmt.Errorf("requests still in flight after %s were cut off", stopTimeout), server.Close())
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve: %w", serveErr))
	}
	slog.Info("stopped")
	return err
}

func newServer(h http.Handler, headerTimeout, bodyTimeout time.Duration) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") }

// counted counts the requests in flight, of which several are worth more than
// one processor.
func counted(h http.Handler, inFlight *atomic.Int64, cpus *processors.Processors) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inFlight.Add(1)
		defer inFlight.Add(-1)
		cpus.Busy()
		h.ServeHTTP(w, r)
	})
}

// limit lets n requests at once through to h; the others wait their turn. One that
// is given up while it waits was not handled, and is answered so: an empty 200 would
// say that the chain stops here. A client that has only closed its side for writing
// reads it.
func limit(h http.Handler, n int) http.Handler {
	slots := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			h.ServeHTTP(w, r)
		case <-r.Context().Done():
			http.Error(w, "too many events at once, and this request was given up before its turn: try again", http.StatusServiceUnavailable)
		}
	})
}
