// Package tracing follows a change by OpenTelemetry: a span for the change, one
// for each attempt at a step and one for each function, all of one trace, sent
// to a collector by OTLP over HTTP. The variables are OpenTelemetry's own. Off,
// which is the default, it does next to nothing.
package tracing

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kwatchman/kwatchman/event"
)

// flushTimeout bounds the stop: Kubernetes kills soon after a stop's grace.
const flushTimeout = 2 * time.Second

// scope names the instrumentation in what is sent.
const scope = "github.com/kwatchman/kwatchman"

// Config says who makes the spans.
type Config struct {
	Service string // service.name, unless the environment has another
	Version string // service.version
	Logger  *slog.Logger
}

// Tracer makes spans. It lives as long as the process. A nil Tracer is tracing
// that is off: every method may be called.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	sampler  sdktrace.Sampler
	exporter *exporter
}

// New reads the environment. It gives nil if tracing is off; an error names the
// variable and not its value. Who is done calls Close.
func New(cfg Config) (*Tracer, error) {
	s, err := read(cfg)
	if s == nil || err != nil {
		return nil, err
	}
	res, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(s.attributes...))
	if err != nil {
		return nil, err
	}
	t := &Tracer{sampler: s.sampler, exporter: newExporter(s, cfg.Logger)}
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(t.exporter), sdktrace.WithResource(res),
		sdktrace.WithSampler(s.sampler), sdktrace.WithIDGenerator(ids{}),
	)
	t.tracer = t.provider.Tracer(scope, trace.WithInstrumentationVersion(cfg.Version))
	return t, nil
}

// On tells whether spans are made.
func (t *Tracer) On() bool { return t != nil }

// Collector is where spans go, without what may be a secret; empty: nowhere.
func (t *Tracer) Collector() string {
	if t == nil {
		return ""
	}
	return t.exporter.name
}

// Close sends what has ended, for two seconds at most.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // the exporter has said what went wrong
	t.exporter.stop()
}

// derive gives the trace of a change and the span of its way: the same after a
// retry, a restart and a failover, so that what was done before belongs to what
// is done then.
func derive(e *event.Event) identity {
	sum := sha256.Sum256([]byte(e.Source + "\n" + e.ID))
	return identity{trace: trace.TraceID(sum[:16]), span: trace.SpanID(sum[16:24])}
}

// identity is what the next span shall be called by; zero: at random.
type identity struct {
	trace trace.TraceID
	span  trace.SpanID
}

type identityKey struct{}

// with has the next span of ctx called by i. That ctx is for one span only.
func (i identity) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, identityKey{}, i)
}

// ids gives spans the identity that their context asks for.
type ids struct{}

// NewIDs implements sdktrace.IDGenerator.
func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	want, _ := ctx.Value(identityKey{}).(identity)
	for !want.trace.IsValid() {
		binary.BigEndian.PutUint64(want.trace[:8], random())
		binary.BigEndian.PutUint64(want.trace[8:], random())
	}
	return want.trace, want.spanID()
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	want, _ := ctx.Value(identityKey{}).(identity)
	return want.spanID()
}

func (i identity) spanID() trace.SpanID {
	for !i.span.IsValid() {
		binary.BigEndian.PutUint64(i.span[:], random())
	}
	return i.span
}

func random() uint64 { return rand.Uint64() } //nolint:gosec // an id is no secret

// collected are attributes without the empty ones.
type collected []attribute.KeyValue

func (c *collected) add(name, value string) {
	if value != "" {
		*c = append(*c, attribute.String(name, value))
	}
}
