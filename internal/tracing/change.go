package tracing

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/conventions"
)

// Change is the span of a change from when it was seen until it is acknowledged.
// It may wait for days, so that it is made when it ends; until then there are
// only its ids. A nil Change is none.
type Change struct {
	tracer *Tracer
	since  time.Time
	parent trace.SpanContext // what the event came with, as one that is sent again does
	self   trace.SpanContext
}

// Begin begins the trace of a change, or goes on with the one that its event
// carries. queued is when it came to the chain.
func (t *Tracer) Begin(e *event.Event, queued time.Time) *Change {
	if t == nil {
		return nil
	}
	c := &Change{tracer: t, since: queued, parent: ofEvent(e)}
	id := derive(e)
	if c.parent.IsValid() {
		id = identity{trace: c.parent.TraceID()}
	} else if !e.Time.IsZero() && e.Time.Before(queued) {
		c.since = e.Time
	}
	decision := t.sampler.ShouldSample(sdktrace.SamplingParameters{
		ParentContext: trace.ContextWithRemoteSpanContext(context.Background(), c.parent),
		TraceID:       id.trace, Name: nameOf(e), Kind: trace.SpanKindInternal,
	})
	cfg := trace.SpanContextConfig{TraceID: id.trace, SpanID: id.spanID(), TraceState: decision.Tracestate}
	if decision.Decision == sdktrace.RecordAndSample {
		cfg.TraceFlags = trace.FlagsSampled
	}
	c.self = trace.NewSpanContext(cfg)
	return c
}

// nameOf is a name with few values.
func nameOf(e *event.Event) string { return string(e.Action) + " " + e.Kind }

// Context is ctx within the change; without one, within what the event carries.
func (c *Change) Context(ctx context.Context, e *event.Event) context.Context {
	if c != nil {
		return trace.ContextWithSpanContext(ctx, c.self)
	}
	if e == nil {
		return ctx
	}
	if sc := ofEvent(e); sc.IsValid() {
		return trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	return ctx
}

// Carry is the event with the trace of the change in it.
func (c *Change) Carry(e *event.Event) *event.Event {
	if c == nil {
		return e
	}
	return carry(e, c.self)
}

// End sends the span. e may be nil if it could not be had. err, one line without
// a secret, is why the change was not delivered.
func (c *Change) End(e *event.Event, outcome string, err error) {
	if c == nil || !c.self.IsSampled() {
		return
	}
	ctx := identity{trace: c.self.TraceID(), span: c.self.SpanID()}.with(context.Background())
	if c.parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, c.parent)
	}
	name, about := "change", make(collected, 0, 16)
	if e != nil {
		name = nameOf(e)
		conventions.Each(e, about.add)
	}
	about.add("kwatchman.outcome", outcome)
	_, span := c.tracer.tracer.Start(ctx, name, trace.WithTimestamp(c.since), trace.WithAttributes(about...))
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// Step is what spans say of a step.
type Step struct {
	Name string   // as logs call it
	URL  *url.URL // of an endpoint, of which host and port are told; nil: it is built in
}

// Attempt is the span of one attempt at a step. A nil Attempt is none.
type Attempt struct{ span trace.Span }

// Attempt begins the n-th attempt of the change that ctx is within; n is from 1.
func (t *Tracer) Attempt(ctx context.Context, s *Step, n int) (context.Context, *Attempt) {
	if t == nil {
		return ctx, nil
	}
	about := collected{
		attribute.String("kwatchman.step", s.Name), attribute.Int("kwatchman.attempt", n), attribute.String("http.request.method", http.MethodPost),
	}
	if s.URL != nil {
		about.add("server.address", s.URL.Hostname())
		if port, err := strconv.Atoi(s.URL.Port()); err == nil {
			about = append(about, attribute.Int("server.port", port))
		}
	}
	if n > 1 {
		about = append(about, attribute.Int("http.request.resend_count", n-1))
	}
	ctx, span := t.tracer.Start(ctx, "step "+s.Name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(about...))
	return ctx, &Attempt{span}
}

// Carry is the event with the trace of the attempt in it.
func (a *Attempt) Carry(e *event.Event) *event.Event {
	if a == nil {
		return e
	}
	return carry(e, a.span.SpanContext())
}

// Answered notes the status of an answer on the attempt that ctx is within.
func Answered(ctx context.Context, status int) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
}

// End sends the span. reason is why the step stops the chain, err why the attempt
// failed and status what it was answered, 0 for no answer: each is one line
// without a secret.
func (a *Attempt) End(outcome, reason string, status int, err error) {
	if a == nil {
		return
	}
	if !a.span.IsRecording() {
		a.span.End()
		return
	}
	about := make(collected, 0, 3)
	about.add("kwatchman.outcome", outcome)
	about.add("kwatchman.reason", reason)
	if err != nil {
		kind := "no_answer"
		if status != 0 {
			kind = strconv.Itoa(status)
		}
		about.add("error.type", kind)
		a.span.SetStatus(codes.Error, err.Error())
	}
	a.span.SetAttributes(about...)
	a.span.End()
}
