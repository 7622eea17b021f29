package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/side"
)

// What a function made of a request.
const (
	continued = "continued"
	stopped   = "stopped"
	retry     = "retry"   // the caller is asked to try again
	refused   = "refused" // for good
)

// outcomes are in the order in which they are written.
var outcomes = []string{continued, refused, retry, stopped}

// buckets are the upper bounds of the histogram, in seconds.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// metrics are those of one function. They are few enough to be written by hand:
// Prometheus' client would be a fifth of a function's size.
type metrics struct {
	name     string
	inFlight atomic.Int64

	mu       sync.Mutex
	requests map[string]uint64 // by outcome
	counts   []uint64          // by bucket, the last one for what is slower
	seconds  float64
}

func newMetrics(name string) *metrics {
	return &metrics{name: name, requests: map[string]uint64{}, counts: make([]uint64, len(buckets)+1)}
}

// observe counts a request.
func (m *metrics) observe(outcome string, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[outcome]++
	i, _ := slices.BinarySearch(buckets, took.Seconds())
	m.counts[i]++
	m.seconds += took.Seconds()
}

// count counts what h answers.
func (m *metrics) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.inFlight.Add(1)
		defer m.inFlight.Add(-1)
		began := time.Now()
		answer := &answer{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(answer, r)
		m.observe(outcome(answer.status), time.Since(began))
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

// ServeHTTP writes the metrics in Prometheus' text format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
func (m *metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = io.WriteString(w, m.text()) // whoever asked may have left
}

func (m *metrics) text() string {
	var b strings.Builder
	family := func(name, kind, help string) {
		fmt.Fprintf(&b, "# HELP %[1]s %[3]s\n# TYPE %[1]s %[2]s\n", name, kind, help)
	}
	of := fmt.Sprintf("function=%q", m.name)

	m.mu.Lock()
	family("kwatchman_function_requests_total", "counter", "Requests, by what became of them: continued, stopped, retry or refused.")
	for _, outcome := range outcomes {
		fmt.Fprintf(&b, "kwatchman_function_requests_total{%s,outcome=%q} %d\n", of, outcome, m.requests[outcome])
	}
	family("kwatchman_function_duration_seconds", "histogram", "Time of a request.")
	sum := uint64(0)
	for i, count := range m.counts {
		bound := "+Inf"
		if i < len(buckets) {
			bound = strconv.FormatFloat(buckets[i], 'g', -1, 64)
		}
		sum += count
		fmt.Fprintf(&b, "kwatchman_function_duration_seconds_bucket{%s,le=%q} %d\n", of, bound, sum)
	}
	fmt.Fprintf(&b, "kwatchman_function_duration_seconds_sum{%s} %g\nkwatchman_function_duration_seconds_count{%s} %d\n", of, m.seconds, of, sum)
	m.mu.Unlock()

	family("kwatchman_function_requests_in_flight", "gauge", "Requests that are not answered yet.")
	fmt.Fprintf(&b, "kwatchman_function_requests_in_flight{%s} %d\n", of, m.inFlight.Load())
	family("kwatchman_build_info", "gauge", "Always 1.")
	fmt.Fprintf(&b, "kwatchman_build_info{%s,version=%q,goversion=%q} 1\n", of, Version, runtime.Version())
	family("go_goroutines", "gauge", "Number of goroutines that currently exist.")
	fmt.Fprintf(&b, "go_goroutines %d\n", runtime.NumGoroutine())
	if cpu, rss, ok := used(); ok {
		family("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.")
		fmt.Fprintf(&b, "process_cpu_seconds_total %g\n", cpu.Seconds())
		family("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.")
		fmt.Fprintf(&b, "process_resident_memory_bytes %d\n", rss)
	}
	return b.String()
}

// serve answers GET /metrics, and health, where METRICS_PORT says, until stop is called;
// nowhere if it is not set.
func (m *metrics) serve(ctx context.Context) (stop func(), err error) {
	v := os.Getenv("METRICS_PORT")
	if v == "" {
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
	mux.HandleFunc("GET /healthz", ok) // for a probe, which has no certificate
	mux.HandleFunc("GET /readyz", ok)
	slog.Info("serving metrics", "address", l.Addr().String())
	return side.Serve(l, mux, slog.Default(), func(err error) { slog.Error("metrics are not served any more", "error", err) }), nil
}
