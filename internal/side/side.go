// Package side serves what a program tells of itself, health and metrics, on a
// port of its own.
package side

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/kwatchman/kwatchman/internal/connections"
)

// Bounds of the server: a request has no body, and its answer is short.
const (
	maxHeader      = 16 << 10
	maxConnections = 256
	timeout        = 10 * time.Second
	idleTimeout    = 2 * time.Minute // longer than between two scrapes
)

// Serve answers on l with h until stop is called; failed is told why it ended before.
func Serve(l net.Listener, h http.Handler, log *slog.Logger, failed func(error)) (stop func()) {
	server := newServer(h, timeout, log)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(connections.Replace(l, maxConnections, log)); !errors.Is(err, http.ErrServerClosed) {
			failed(err)
		}
	}()
	return func() {
		_ = server.Close() // nothing is lost with a broken scrape or probe
		<-served
	}
}

func newServer(h http.Handler, timeout time.Duration, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
