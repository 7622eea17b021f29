package tracing

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/conventions"
)

// Handler gives each event that h, a function of that name, handles a span, and
// lets what is logged meanwhile find its trace. With tracing off only the latter.
func (t *Tracer) Handler(name string, h http.Handler) http.Handler {
	if function, ok := h.(event.Handler); ok {
		h = event.Handler(func(ctx context.Context, e event.Event) (*event.Event, error) {
			if r, ok := ctx.Value(requestKey{}).(*request); ok {
				of := e // a copy only here: what is pointed to is allocated for every event
				ctx = r.begin(ctx, &of)
			}
			return function(ctx, e)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		if !t.On() && !mayCarry(in.Header) {
			h.ServeHTTP(w, in)
			return
		}
		r := &request{
			tracer: t, name: name, began: time.Now(),
			header:    parse(in.Header.Get(headerParent), in.Header.Get(headerState)),
			extension: parse(in.Header.Get("Ce-"+headerParent), in.Header.Get("Ce-"+headerState)),
		}
		parent, _ := r.parent()
		r.current = parent
		a := &answer{ResponseWriter: w}
		defer r.end(in.Context(), a) // also of a handler that panics
		h.ServeHTTP(a, in.WithContext(context.WithValue(in.Context(), requestKey{}, r)))
		a.done = true
	})
}

// mayCarry tells whether a request may have a trace: in structured mode only the
// body tells.
func mayCarry(h http.Header) bool {
	return h.Get(headerParent) != "" || h.Get("Ce-"+headerParent) != "" || strings.HasPrefix(h.Get("Content-Type"), "application/cloudevents")
}

type requestKey struct{}

// request is one that a function answers. Its span begins when the event is
// known, which says whose trace it is.
type request struct {
	tracer    *Tracer
	name      string
	began     time.Time
	header    trace.SpanContext
	extension trace.SpanContext
	current   trace.SpanContext // for logs
	span      trace.Span        // nil: not begun
}

// parent is what the span belongs to. The event's extension names the trace of
// the change: it passes everything unchanged, while headers are written anew
// on the way, by Knative's dispatcher or a mesh, perhaps with a trace of their
// own or a decision of their own not to sample. So the header, which is nearer,
// holds where it agrees; another trace is linked to.
func (r *request) parent() (parent, link trace.SpanContext) {
	switch {
	case !r.extension.IsValid():
		return r.header, trace.SpanContext{}
	case !r.header.IsValid():
		return r.extension, trace.SpanContext{}
	case r.header.TraceID() != r.extension.TraceID():
		return r.extension, r.header
	case r.header.IsSampled() != r.extension.IsSampled():
		return r.extension, trace.SpanContext{}
	}
	return r.header, trace.SpanContext{}
}

// begin begins the span of an event that was read. Without a trace it is that of
// the change, as the watcher would have derived it.
func (r *request) begin(ctx context.Context, e *event.Event) context.Context {
	r.extension = ofEvent(e) // of structured mode, too
	parent, link := r.parent()
	if !r.tracer.On() {
		if r.current = parent; parent.IsValid() {
			ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
		}
		return ctx
	}
	var id identity
	if !parent.IsValid() {
		id.trace = derive(e).trace
	}
	about := make(collected, 0, 6)
	conventions.CloudEvent(e, about.add)
	ctx = r.start(ctx, parent, link, id, about)
	return ctx
}

func (r *request) start(ctx context.Context, parent, link trace.SpanContext, id identity, about collected) context.Context {
	about = append(about, attribute.String("kwatchman.function", r.name), attribute.String("http.request.method", http.MethodPost))
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(r.began), trace.WithAttributes(about...)}
	if link.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: link}))
	}
	// Whatever span ctx is within, the parent is what the request says.
	_, r.span = r.tracer.tracer.Start(id.with(trace.ContextWithRemoteSpanContext(ctx, parent)), r.name, options...)
	r.current = r.span.SpanContext()
	return trace.ContextWithSpan(ctx, r.span)
}

// end ends the span with what was answered. What was no event has one only if
// the request said which trace it is of.
func (r *request) end(ctx context.Context, a *answer) {
	if r.span == nil {
		parent, link := r.parent()
		if !r.tracer.On() || !parent.IsValid() {
			return
		}
		r.start(ctx, parent, link, identity{}, nil)
	}
	if !a.done && a.status == 0 {
		a.status = http.StatusInternalServerError // it panicked, and the server hangs up
		a.said = []byte("the function panicked")
	}
	if r.span.IsRecording() {
		status := cmp.Or(a.status, http.StatusOK)
		about := collected{attribute.Int("http.response.status_code", status), attribute.String("kwatchman.outcome", outcome(status))}
		about.add("kwatchman.reason", a.Header().Get(event.ReasonHeader))
		if status >= 400 {
			r.span.SetStatus(codes.Error, strings.TrimSpace(strings.ToValidUTF8(string(a.said), "")))
		}
		r.span.SetAttributes(about...)
	}
	r.span.End()
}

func outcome(status int) string {
	switch {
	case status == http.StatusNoContent:
		return "stopped"
	case status/100 == 2:
		return "continued"
	case event.Retryable(status):
		return "retried"
	}
	return "refused"
}

// answer remembers the status, and of a failure the line that says why.
type answer struct {
	http.ResponseWriter
	status int
	said   []byte
	done   bool
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status >= 400 {
		a.said = append(a.said, p[:min(len(p), event.MaxErrorBody-min(len(a.said), event.MaxErrorBody))]...)
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController the writer below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
