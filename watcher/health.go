package watcher

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

	"github.com/kwatchman/kwatchman/watcher/config"
)

// serveHealth answers /metrics, /healthz, and /readyz once ready is set, until the
// returned function is called.
func serveHealth(ctx context.Context, addr string, metrics http.Handler, ready *atomic.Bool, log *slog.Logger) (stop func(), err error) {
	if addr == "" {
		return func() {}, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil && addr == config.DefaultMetricsAddr {
		// Nobody asked for that port: two watchers on one machine both work.
		log.Warn("health is not served: set KW_METRICS_ADDR", "error", err)
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("KW_METRICS_ADDR: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			http.Error(w, "not synced", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.Handle("GET /metrics", metrics)
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("health is not served any more", "error", err)
		}
	}()
	log.Info("serving health", "address", l.Addr().String())
	return func() {
		_ = server.Close() // nothing is lost with a broken health check
		<-served
	}, nil
}
