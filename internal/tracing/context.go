package tracing

import (
	"context"
	"encoding/hex"
	"log/slog"
	"maps"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/kwatchman/kwatchman/event"
)

// The names by which the trace travels: as headers (https://www.w3.org/TR/trace-context/)
// and as CloudEvents extensions, which pass every step of a Knative Sequence
// (https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/distributed-tracing.md).
const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
	// In the form that http.Header keeps: looking for another allocates.
	headerParent = "Traceparent"
	headerState  = "Tracestate"
)

// parse reads both; what is not valid is no context.
func parse(parent, state string) trace.SpanContext {
	const length = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	none := trace.SpanContext{}
	if len(parent) < length || parent[2] != '-' || parent[35] != '-' || parent[52] != '-' {
		return none
	}
	version, ok := lowerHex(parent[:2])
	switch {
	case !ok || version[0] == 0xff, version[0] == 0 && len(parent) != length, len(parent) > length && parent[length] != '-':
		return none
	}
	traceID, ok1 := lowerHex(parent[3:35])
	spanID, ok2 := lowerHex(parent[36:52])
	flags, ok3 := lowerHex(parent[53:55])
	if !ok1 || !ok2 || !ok3 {
		return none
	}
	cfg := trace.SpanContextConfig{
		TraceID: trace.TraceID(traceID), SpanID: trace.SpanID(spanID), TraceFlags: trace.TraceFlags(flags[0]) & trace.FlagsSampled, Remote: true,
	}
	if state != "" {
		cfg.TraceState, _ = trace.ParseTraceState(state) // a bad one is none
	}
	if sc := trace.NewSpanContext(cfg); sc.IsValid() {
		return sc
	}
	return none
}

func lowerHex(s string) ([]byte, bool) {
	if strings.ToLower(s) != s {
		return nil, false
	}
	b, err := hex.DecodeString(s)
	return b, err == nil
}

// format is the traceparent of a context.
func format(sc trace.SpanContext) string {
	return "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-" + (sc.TraceFlags() & trace.FlagsSampled).String()
}

// ofEvent is the context that an event carries.
func ofEvent(e *event.Event) trace.SpanContext {
	parent := e.Extensions[traceparent]
	if parent == "" {
		return trace.SpanContext{}
	}
	return parse(parent, e.Extensions[tracestate])
}

// carry is the event with a context for whoever gets it.
func carry(e *event.Event, sc trace.SpanContext) *event.Event {
	out := *e
	out.Extensions = make(map[string]string, len(e.Extensions)+2)
	maps.Copy(out.Extensions, e.Extensions)
	set(out.Extensions, sc)
	return &out
}

func set(extensions map[string]string, sc trace.SpanContext) {
	extensions[traceparent] = format(sc)
	delete(extensions, tracestate)
	if state := sc.TraceState().String(); state != "" {
		extensions[tracestate] = state
	}
}

// Inject sets the headers for a request with an event to what the event carries.
func Inject(header http.Header, e *event.Event) {
	sc := ofEvent(e)
	if !sc.IsValid() {
		return
	}
	header.Set(headerParent, format(sc))
	if state := sc.TraceState().String(); state != "" {
		header.Set(headerState, state)
	}
}

// ID is the trace of ctx, else of the event, in hexadecimal; empty: none.
func ID(ctx context.Context, e *event.Event) string {
	sc := current(ctx)
	if !sc.IsValid() {
		sc = ofEvent(e)
	}
	if !sc.IsValid() {
		return ""
	}
	return sc.TraceID().String()
}

// current is the trace context of ctx.
func current(ctx context.Context) trace.SpanContext {
	if r, ok := ctx.Value(requestKey{}).(*request); ok && r.current.IsValid() {
		return r.current
	}
	return trace.SpanContextFromContext(ctx)
}

// Logs has each line that is logged with a trace in its context say trace_id and
// span_id (https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/).
func Logs(h slog.Handler) slog.Handler { return logs{h} }

type logs struct{ slog.Handler }

func (l logs) Handle(ctx context.Context, r slog.Record) error {
	if sc := current(ctx); sc.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	return l.Handler.Handle(ctx, r)
}

func (l logs) WithAttrs(attrs []slog.Attr) slog.Handler { return logs{l.Handler.WithAttrs(attrs)} }

func (l logs) WithGroup(name string) slog.Handler { return logs{l.Handler.WithGroup(name)} }
