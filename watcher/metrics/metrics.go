// Package metrics counts what the watcher does, for Prometheus. Every label has a
// bounded number of values, whatever the endpoints answer.
package metrics

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxReasons bounds how many reasons of one step are told apart; further ones
// are "other".
const maxReasons = 20

// maxReason bounds a reason's class in bytes.
const maxReason = 40

// Metrics are those of one watcher. The methods of a nil one do nothing.
type Metrics struct {
	registry *prometheus.Registry

	changes, stopped, retries, deadLetters, requests *prometheus.CounterVec
	restarts, relists                                *prometheus.CounterVec
	delivered, lost                                  prometheus.Counter
	step                                             *prometheus.HistogramVec
	delivery                                         prometheus.Histogram
	objects, watches, down                           *prometheus.GaugeVec
	takeovers, reloads                               *prometheus.CounterVec

	mu      sync.Mutex
	reasons map[string]map[string]bool // step → classes; under mu
}

// Queue is what waits, asked for at each scrape.
type Queue struct {
	Events int
	Bytes  int
	Oldest time.Duration // how long the oldest has waited; 0: none waits
}

// latency is in seconds, from a function in the same process to an endpoint at its time limit.
var latency = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// delays are in seconds, from at once to what an outage of hours makes of it.
var delays = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}

// New makes the metrics of a watcher of that version.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), reasons: map[string]map[string]bool{}}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kwatchman_" + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	m.changes = counter("changes_total", "Changes that were seen.", "resource", "action", "via")
	m.stopped = counter("events_stopped_total", "Events that a step stopped, by the class of its reason.", "step", "reason")
	m.retries = counter("step_retries_total", "Attempts at a step that failed and are repeated, by status or none.", "step", "code")
	m.deadLetters = counter("dead_letters_total", "Events that were given up and are in the dead letter, by the step that failed.", "step")
	m.requests = counter("step_requests_total", "Attempts at a step: continued, stopped, retried or refused.", "step", "outcome")
	m.restarts = counter("watch_restarts_total", "Watches that were opened again.", "resource")
	m.relists = counter("relists_total", "Lists that were compared with what was seen, because the API server's history was gone.", "resource")
	m.takeovers = counter("takeover_watches_total", "Watches that were taken over from another leader: from its watermark, or, where the API server does not have that state any more, from what it saw last, the own state or a baseline.", "from")
	m.reloads = counter("config_reloads_total", "Changes of the configuration file, taken over or refused.", "result")
	m.delivered = prometheus.NewCounter(prometheus.CounterOpts{Name: "kwatchman_events_delivered_total", Help: "Events that came to the end of the chain or were stopped."})
	m.lost = prometheus.NewCounter(prometheus.CounterOpts{Name: "kwatchman_events_lost_total", Help: "Events that were given up and that no dead letter has; each is an error line."})
	m.step = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "kwatchman_step_duration_seconds", Help: "Time of one attempt at a step.", Buckets: latency,
	}, []string{"step"})
	m.delivery = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "kwatchman_delivery_duration_seconds", Help: "Time from the change to its acknowledgement; of what an earlier run left, from the start.", Buckets: delays,
	})
	m.objects = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kwatchman_objects", Help: "Objects that were seen last."}, []string{"resource"})
	m.watches = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kwatchman_watches", Help: "Watches: one of each resource, or of each of its namespaces."}, []string{"resource"})
	m.down = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kwatchman_watches_down", Help: "Watches that the API server does not let be followed at the moment."}, []string{"resource"})
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kwatchman_build_info", Help: "Always 1."}, []string{"version", "goversion"})
	info.WithLabelValues(version, runtime.Version()).Set(1)
	m.registry.MustRegister(m.delivered, m.lost, m.step, m.delivery, m.objects, m.watches, m.down, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Gauge registers a value that is asked for at each scrape.
func (m *Metrics) Gauge(name, help string, value func() float64) {
	if m != nil {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kwatchman_" + name, Help: help}, value))
	}
}

// Changed counts a change that was seen.
func (m *Metrics) Changed(resource, action, via string) {
	if m != nil {
		m.changes.WithLabelValues(resource, action, via).Inc()
	}
}

// Objects adds to the number of objects of a resource.
func (m *Metrics) Objects(resource string, delta int) {
	if m != nil && delta != 0 {
		m.objects.WithLabelValues(resource).Add(float64(delta))
	}
}

// Watching tells that the watches of a resource were opened for the first time,
// so that its counters are there from the start.
func (m *Metrics) Watching(resource string) {
	if m != nil {
		m.restarts.WithLabelValues(resource)
		m.relists.WithLabelValues(resource)
		m.objects.WithLabelValues(resource)
		m.down.WithLabelValues(resource)
	}
}

// Watch counts the watches of a resource.
func (m *Metrics) Watch(resource string, delta int) {
	if m != nil {
		m.watches.WithLabelValues(resource).Add(float64(delta))
	}
}

// Down counts those of them that cannot be followed.
func (m *Metrics) Down(resource string, delta int) {
	if m != nil {
		m.down.WithLabelValues(resource).Add(float64(delta))
	}
}

// Restarted counts a watch that was opened again.
func (m *Metrics) Restarted(resource string) {
	if m != nil {
		m.restarts.WithLabelValues(resource).Inc()
	}
}

// Relisted counts a list that was compared with what was seen.
func (m *Metrics) Relisted(resource string) {
	if m != nil {
		m.relists.WithLabelValues(resource).Inc()
	}
}

// What a watch is taken over from.
const (
	FromWatermark = "watermark"
	FromSeen      = "seen"
	FromState     = "state"
	FromBaseline  = "baseline"
)

// TakenOver counts a watch that another leader has left.
func (m *Metrics) TakenOver(from string) {
	if m != nil {
		m.takeovers.WithLabelValues(from).Inc()
	}
}

// Elects makes the counters of takeovers be there from the start.
func (m *Metrics) Elects() {
	for _, from := range []string{FromWatermark, FromSeen, FromState, FromBaseline} {
		m.takeovers.WithLabelValues(from)
	}
}

// Reloads makes the counters of reloads be there from the start.
func (m *Metrics) Reloads() {
	m.reloads.WithLabelValues("taken")
	m.reloads.WithLabelValues("refused")
}

// Reloaded counts a change of the configuration file.
func (m *Metrics) Reloaded(taken bool) {
	if taken {
		m.reloads.WithLabelValues("taken").Inc()
	} else {
		m.reloads.WithLabelValues("refused").Inc()
	}
}

// Outcome is what came of an attempt at a step.
type Outcome string

// The outcomes.
const (
	Continued Outcome = "continued"
	Stopped   Outcome = "stopped"
	Retried   Outcome = "retried"
	Refused   Outcome = "refused" // for good
)

// Step makes the counters of a step be there from the start.
func (m *Metrics) Step(step string) {
	if m == nil {
		return
	}
	for _, o := range []Outcome{Continued, Stopped, Retried, Refused} {
		m.requests.WithLabelValues(step, string(o))
	}
	m.step.WithLabelValues(step)
	m.deadLetters.WithLabelValues(step)
}

// ForgetStep removes the counters of a step that no chain has any more, so that
// they do not stay in /metrics until the process ends. What is counted for that
// step afterwards begins at 0: its last attempt has to be over.
func (m *Metrics) ForgetStep(step string) {
	if m == nil {
		return
	}
	of := prometheus.Labels{"step": step}
	for _, v := range []*prometheus.CounterVec{m.stopped, m.retries, m.deadLetters, m.requests} {
		v.DeletePartialMatch(of)
	}
	m.step.DeletePartialMatch(of)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.reasons, step)
}

// ForgetResource removes the counters of a resource that is not watched any more,
// in any namespace. Its watches have to be over, and its objects taken off with
// Objects: what comes afterwards begins at 0, below which these would go.
func (m *Metrics) ForgetResource(resource string) {
	if m == nil {
		return
	}
	of := prometheus.Labels{"resource": resource}
	for _, v := range []*prometheus.CounterVec{m.changes, m.restarts, m.relists} {
		v.DeletePartialMatch(of)
	}
	for _, v := range []*prometheus.GaugeVec{m.objects, m.watches, m.down} {
		v.DeletePartialMatch(of)
	}
}

// Attempted counts an attempt at a step that took d.
func (m *Metrics) Attempted(step string, outcome Outcome, d time.Duration) {
	if m != nil {
		m.requests.WithLabelValues(step, string(outcome)).Inc()
		m.step.WithLabelValues(step).Observe(d.Seconds())
	}
}

// Stopped counts an event that a step stopped, for a reason in words.
func (m *Metrics) Stopped(step, reason string) {
	if m != nil {
		m.stopped.WithLabelValues(step, m.class(step, reason)).Inc()
	}
}

// class is a reason up to what differs from event to event: a colon, a bracket,
// a digit. A step has a bounded number of them.
func (m *Metrics) class(step, reason string) string {
	if i := strings.IndexAny(reason, ":;,([{\"'0123456789"); i >= 0 {
		reason = reason[:i]
	}
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	reason = strings.TrimSpace(strings.ToValidUTF8(reason, ""))
	if reason == "" {
		return "none"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.reasons[step]
	switch {
	case known == nil:
		known = map[string]bool{}
		m.reasons[step] = known
	case !known[reason] && len(known) >= maxReasons:
		return "other"
	}
	known[reason] = true
	return reason
}

// Retry counts an attempt that is repeated; status 0: there was no answer.
func (m *Metrics) Retry(step string, status int) {
	if m == nil {
		return
	}
	code := "other"
	switch status {
	case 0:
		code = "none"
	case 404, 408, 409, 429, 500, 501, 502, 503, 504:
		code = strconv.Itoa(status)
	}
	m.retries.WithLabelValues(step, code).Inc()
}

// Delivered counts an event that came to its end after d.
func (m *Metrics) Delivered(d time.Duration) {
	if m != nil {
		m.delivered.Inc()
		m.delivery.Observe(d.Seconds())
	}
}

// GivenUp counts an event that is given up at a step; kept tells that the dead
// letter has it.
func (m *Metrics) GivenUp(step string, kept bool) {
	switch {
	case m == nil:
	case kept:
		m.deadLetters.WithLabelValues(step).Inc()
	default:
		m.lost.Inc()
	}
}

// Queue registers what waits.
func (m *Metrics) Queue(of func() Queue) {
	m.Gauge("queue_events", "Events that are not acknowledged.", func() float64 { return float64(of().Events) })
	m.Gauge("queue_bytes", "Bytes of the events that are not acknowledged, packed.", func() float64 { return float64(of().Bytes) })
	m.Gauge("queue_oldest_seconds", "How long the oldest of them has waited; of what an earlier run left, since the start.", func() float64 { return of().Oldest.Seconds() })
}
