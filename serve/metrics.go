package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/kwatchman/kwatchman/event"
)

// What a function made of a request.
const (
	continued = "continued"
	stopped   = "stopped"
	retry     = "retry"   // the caller is asked to try again
	refused   = "refused" // for good
)

// metrics are those of one function.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration prometheus.Histogram
	inFlight prometheus.Gauge
}

func newMetrics(name string) *metrics {
	of := prometheus.Labels{"function": name}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kwatchman_function_requests_total", Help: "Requests, by what became of them: continued, stopped, retry or refused.", ConstLabels: of,
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kwatchman_function_duration_seconds", Help: "Time of a request.", ConstLabels: of,
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kwatchman_function_requests_in_flight", Help: "Requests that are not answered yet.", ConstLabels: of,
		}),
	}
	for _, outcome := range []string{continued, stopped, retry, refused} {
		m.requests.WithLabelValues(outcome)
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kwatchman_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"function": name, "version": Version, "goversion": runtime.Version()},
	})
	info.Set(1)
	m.registry.MustRegister(m.requests, m.duration, m.inFlight, info, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// count counts what h answers.
func (m *metrics) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.inFlight.Inc()
		defer m.inFlight.Dec()
		began := time.Now()
		answer := &answer{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(answer, r)
		m.duration.Observe(time.Since(began).Seconds())
		m.requests.WithLabelValues(outcome(answer.status)).Inc()
	})
}

func outcome(status int) string {
	switch {
	case status == http.StatusNoContent:
		return stopped
	case status/100 == 2:
		return continued
	case event.Retryable(status):
		return retry
	}
	return refused
}

// answer remembers the status.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap gives http.ResponseController the writer below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// ServeHTTP writes the metrics as text. (promhttp would also compress them, and
// links three times as much for it.)
func (m *metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	families, err := m.registry.Gather()
	if err != nil {
		http.Error(w, "metrics cannot be gathered", http.StatusInternalServerError)
		return
	}
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	w.Header().Set("Content-Type", string(format))
	e := expfmt.NewEncoder(w, format)
	for _, f := range families {
		if e.Encode(f) != nil {
			return // whoever asked has left
		}
	}
}

// serve answers GET /metrics where METRICS_PORT says, until stop is called;
// nowhere if it is not set.
func (m *metrics) serve(ctx context.Context) (stop func(), err error) {
	v, ok := os.LookupEnv("METRICS_PORT")
	if !ok || v == "" {
		return func() {}, nil
	}
	port, err := strconv.ParseUint(v, 10, 16)
	if err != nil {
		return nil, errors.New("METRICS_PORT: bad value: want a port from 0 to 65535")
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.FormatUint(port, 10))
	if err != nil {
		return nil, fmt.Errorf("METRICS_PORT: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m)
	server := &http.Server{Handler: mux, ReadTimeout: headerTimeout, WriteTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 16 << 10}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("metrics are not served any more", "error", err)
		}
	}()
	slog.Info("serving metrics", "address", l.Addr().String())
	return func() {
		_ = server.Close() // nothing is lost with a broken scrape
		<-served
	}, nil
}
