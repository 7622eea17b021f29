package watcher

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/kwatchman/kwatchman/internal/side"
	"github.com/kwatchman/kwatchman/watcher/config"
)

// health is what /healthz and /readyz look at.
type health struct {
	ready atomic.Bool // the first lists are done, and no stop has begun
	// standby tells whether another watcher leads; nil: there is no other.
	standby func() bool
	// loops say why they can be taken for stuck; empty: they live.
	loops []func(now time.Time) string
	// writable says why what comes next could not be kept.
	writable func() string
}

// alive is the first reason why the process should be started anew.
func (h *health) alive() string {
	now := time.Now()
	for _, stuck := range h.loops {
		if trouble := stuck(now); trouble != "" {
			return trouble
		}
	}
	return ""
}

// isReady is the reason why it does not do its work at the moment.
func (h *health) isReady() string {
	if !h.ready.Load() && !h.standsBy() {
		return "not synced"
	}
	return cmp.Or(h.writable(), h.alive())
}

func (h *health) standsBy() bool { return h.standby != nil && h.standby() }

// serveHealth answers /metrics, /healthz and /readyz until the returned function is
// called.
func serveHealth(ctx context.Context, addr string, metrics http.Handler, h *health, log *slog.Logger) (stop func(), err error) {
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
	answer := func(check func() string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if trouble := check(); trouble != "" {
				http.Error(w, trouble, http.StatusServiceUnavailable)
				return
			}
			text := "ok\n"
			if h.standsBy() {
				text = "ok, standing by\n"
			}
			_, _ = io.WriteString(w, text)
		}
	}
	mux.HandleFunc("GET /healthz", answer(h.alive))
	mux.HandleFunc("GET /readyz", answer(h.isReady))
	mux.Handle("GET /metrics", metrics)
	log.Info("serving health", "address", l.Addr().String())
	return side.Serve(l, mux, log, func(err error) { log.Error("health is not served any more", "error", err) }), nil
}
