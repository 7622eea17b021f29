package tracing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/internal/tracing/tracetest"
)

const (
	trace  = "0af7651916cd43dd8448eb211c80319c"
	other  = "11111111111111111111111111111111"
	parent = "00-" + trace + "-b7ad6b7169203331-01"
)

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(tracing.Logs(slog.NewJSONHandler(l, nil))) }

// tracer sends to the collector at once.
func tracer(t *testing.T, endpoint string, log *slog.Logger, env ...string) *tracing.Tracer {
	t.Helper()
	for _, kv := range append([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint, "OTEL_BSP_SCHEDULE_DELAY=10"}, env...) {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	tr, err := tracing.New(tracing.Config{Service: "kwatchman-test", Version: "v1", Logger: log})
	require.NoError(t, err)
	require.NotNil(t, tr)
	t.Cleanup(tr.Close)
	return tr
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// deliver is a change that takes one attempt at one step, and gives the event that
// the step got.
func deliver(tr *tracing.Tracer, e *event.Event, err error) *event.Event {
	change := tr.Begin(e, time.Now())
	in := change.Carry(e)
	step := tracing.Step{Name: "1 http://diff:8080", URL: &url.URL{Scheme: "http", Host: "diff:8080", Path: "/secret"}}
	ctx, attempt := tr.Attempt(change.Context(context.Background(), in), &step, 2)
	in = attempt.Carry(in)
	tracing.Answered(ctx, 422)
	outcome := "continued"
	if err != nil {
		outcome = "refused"
	}
	attempt.End(outcome, "", 422, err)
	change.End(e, outcome, err)
	return in
}

func TestTheSameChangeHasTheSameTraceAndRoot(t *testing.T) {
	c := tracetest.New(t)
	e := eventtest.Sample(event.Update)
	for range 2 { // a watcher, and the one that took over
		deliver(tracer(t, c.URL, quiet()), &e, nil)
	}
	spans := c.Await(t, 4, "")
	roots := map[string]bool{}
	steps := map[string]bool{}
	for _, s := range spans {
		require.Equal(t, spans[0].Trace, s.Trace)
		if s.Parent == "" {
			roots[s.ID] = true
		} else {
			steps[s.ID] = true
		}
	}
	require.Len(t, roots, 1)
	require.Len(t, steps, 2)

	next := e
	next.ID = "7c11.41389.update"
	deliver(tracer(t, c.URL, quiet()), &next, nil)
	require.NotEqual(t, spans[0].Trace, c.Await(t, 6, "")[5].Trace)
}

func TestSpansSayWhatWasDoneAndNothingOfTheObject(t *testing.T) {
	c := tracetest.New(t)
	e := eventtest.Sample(event.Update)
	e.Time = time.Now().Add(-time.Minute)
	got := deliver(tracer(t, c.URL, quiet()), &e, errors.New("answered 422: no"))
	spans := c.Await(t, 2, "")
	root, step := spans[0], spans[1]

	require.Equal(t, "Update "+e.Kind, root.Name)
	require.Equal(t, "SPAN_KIND_INTERNAL", root.Kind)
	require.WithinDuration(t, e.Time, root.Start, time.Microsecond)
	require.Equal(t, e.ID, root.Attributes["cloudevents.event_id"])
	require.Equal(t, e.Source, root.Attributes["cloudevents.event_source"])
	require.Equal(t, e.Subject, root.Attributes["cloudevents.event_subject"])
	require.Equal(t, e.Type(), root.Attributes["cloudevents.event_type"])
	require.Equal(t, e.Namespace, root.Attributes["k8s.namespace.name"])
	require.Equal(t, e.Name, root.Attributes["kwatchman.name"])
	require.True(t, root.Failed)
	require.Equal(t, "answered 422: no", root.Message)
	require.Equal(t, "kwatchman-test", root.Service)
	require.Equal(t, "v1", root.OfResource["service.version"])
	require.Equal(t, "go", root.OfResource["telemetry.sdk.language"])
	require.True(t, root.Sampled)

	require.Equal(t, root.ID, step.Parent)
	require.Equal(t, "step 1 http://diff:8080", step.Name)
	require.Equal(t, "SPAN_KIND_CLIENT", step.Kind)
	require.Equal(t, map[string]string{
		"kwatchman.step": "1 http://diff:8080", "kwatchman.attempt": "2", "kwatchman.outcome": "refused", "error.type": "422",
		"http.request.method": "POST", "http.request.resend_count": "1", "http.response.status_code": "422",
		"server.address": "diff", "server.port": "8080",
	}, step.Attributes)
	require.True(t, step.Failed)
	require.Equal(t, "00-"+root.Trace+"-"+step.ID+"-01", got.Extensions["traceparent"])
	require.Empty(t, e.Extensions["traceparent"], "the event itself stays as it is")
}

func TestAnEventThatCarriesATraceKeepsIt(t *testing.T) {
	c := tracetest.New(t)
	e := eventtest.Sample(event.Update)
	e.Extensions = map[string]string{"traceparent": parent, "tracestate": "a=b"}
	got := deliver(tracer(t, c.URL, quiet()), &e, nil)
	spans := c.Await(t, 2, trace)
	require.Equal(t, "b7ad6b7169203331", spans[0].Parent)
	require.True(t, spans[0].ParentIsRemote)
	require.Equal(t, "a=b", spans[0].State)
	require.Equal(t, spans[0].ID, spans[1].Parent)
	require.Equal(t, "a=b", got.Extensions["tracestate"])
	header := http.Header{}
	tracing.Inject(header, got)
	require.Equal(t, "00-"+trace+"-"+spans[1].ID+"-01", header.Get("traceparent"))
	require.Equal(t, "a=b", header.Get("tracestate"))
}

func TestWhatIsNoTraceparentIsNone(t *testing.T) {
	for _, bad := range []string{
		"", "00", "ff" + parent[2:], parent + "-00", strings.ToUpper(parent), "00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01",
		"00-" + trace + "-0000000000000000-01", strings.Replace(parent, "-", "_", 1), "xx" + parent[2:], parent[:len(parent)-1] + "g",
		"01" + parent[2:] + "0", "00-\n" + parent[4:],
	} {
		header := http.Header{}
		tracing.Inject(header, &event.Event{Extensions: map[string]string{"traceparent": bad}})
		require.Empty(t, header, "%q", bad)
	}
	header := http.Header{}
	tracing.Inject(header, &event.Event{Extensions: map[string]string{"traceparent": "01" + parent[2:] + "-more", "tracestate": "no state"}})
	require.Equal(t, http.Header{"Traceparent": {parent}}, header, "of a later version what is known is taken")
}

func TestWhatIsNotSampledIsNotSentAndSaysSo(t *testing.T) {
	c := tracetest.New(t)
	tr := tracer(t, c.URL, quiet(), "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.5")
	sampled := 0
	for i := range 200 {
		e := eventtest.Sample(event.Update)
		e.ID = event.NewID("7c11", string(rune('a'+i%26))+string(rune('a'+i/26)), event.Update)
		got := deliver(tr, &e, nil)
		if strings.HasSuffix(got.Extensions["traceparent"], "-01") {
			sampled++
		}
	}
	tr.Close()
	require.InDelta(t, 100, sampled, 60)
	require.Len(t, c.Spans(), 2*sampled, "the change and its attempts are of one mind")
}

// served answers one event with a function.
func served(t *testing.T, tr *tracing.Tracer, h event.Handler, e *event.Event, header map[string]string) *httptest.ResponseRecorder {
	t.Helper()
	r, err := event.NewRequest(t.Context(), "http://localhost", e)
	require.NoError(t, err)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	tr.Handler("echo", h).ServeHTTP(w, r)
	return w
}

func echo(_ context.Context, e event.Event) (*event.Event, error) { return &e, nil }

func TestTheSpanOfAFunctionBelongsToTheTraceOfTheChange(t *testing.T) {
	const header, unsampled = "aaaaaaaaaaaaaaaa", "cccccccccccccccc"
	e := eventtest.Sample(event.Update)
	for _, c := range []struct {
		name, header, extension, trace, parent string
		links                                  []string
	}{
		{name: "header alone", header: "00-" + other + "-" + header + "-01", trace: other, parent: header},
		{name: "extension alone, as behind a proxy", extension: parent, trace: trace, parent: "b7ad6b7169203331"},
		{name: "a dispatcher that goes on with the trace", header: "00-" + trace + "-" + header + "-01", extension: parent, trace: trace, parent: header},
		{name: "a dispatcher with a trace of its own", header: "00-" + other + "-" + header + "-01", extension: parent, trace: trace, parent: "b7ad6b7169203331", links: []string{other}},
		{name: "a dispatcher that does not sample", header: "00-" + trace + "-" + unsampled + "-00", extension: parent, trace: trace, parent: "b7ad6b7169203331"},
		{name: "a broken header", header: "00-zz", extension: parent, trace: trace, parent: "b7ad6b7169203331"},
	} {
		t.Run(c.name, func(t *testing.T) {
			collector := tracetest.New(t)
			tr := tracer(t, collector.URL, quiet())
			in := e
			if c.extension != "" {
				in.Extensions = map[string]string{"traceparent": c.extension}
			}
			w := served(t, tr, echo, &in, map[string]string{"traceparent": c.header})
			require.Equal(t, http.StatusOK, w.Code)
			require.Equal(t, c.extension, w.Header().Get("Ce-Traceparent"), "the reply keeps the extension")
			span := collector.Await(t, 1, "")[0]
			require.Equal(t, c.trace, span.Trace)
			require.Equal(t, c.parent, span.Parent)
			require.Equal(t, c.links, span.Links)
			require.True(t, span.ParentIsRemote)
			require.Equal(t, "echo", span.Name)
			require.Equal(t, "SPAN_KIND_SERVER", span.Kind)
			require.Equal(t, map[string]string{
				"cloudevents.event_id": e.ID, "cloudevents.event_source": e.Source, "cloudevents.event_subject": e.Subject, "cloudevents.event_type": e.Type(),
				"kwatchman.function": "echo", "kwatchman.outcome": "continued", "http.request.method": "POST", "http.response.status_code": "200",
			}, span.Attributes)
		})
	}
}

func TestAFunctionOfAnUntracedWatcherHasTheTraceOfTheChange(t *testing.T) {
	c := tracetest.New(t)
	tr := tracer(t, c.URL, quiet())
	e := eventtest.Sample(event.Update)
	served(t, tr, echo, &e, nil)
	served(t, tr, echo, &e, nil)
	deliver(tr, &e, nil)
	spans := c.Await(t, 4, "")
	ids := map[string]bool{}
	for _, s := range spans {
		require.Equal(t, spans[0].Trace, s.Trace)
		ids[s.ID] = true
	}
	require.Len(t, ids, 4)
}

func TestStructuredModeCarriesTheTrace(t *testing.T) {
	c := tracetest.New(t)
	e := eventtest.Sample(event.Update)
	e.Extensions = map[string]string{"traceparent": parent}
	out, err := e.ToCloudEvent()
	require.NoError(t, err)
	body, err := json.Marshal(out)
	require.NoError(t, err)
	for _, tr := range []*tracing.Tracer{tracer(t, c.URL, quiet()), nil} {
		log := &lines{}
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/cloudevents+json")
		tr.Handler("echo", event.Handler(func(ctx context.Context, e event.Event) (*event.Event, error) {
			log.logger().InfoContext(ctx, "at work")
			return &e, nil
		})).ServeHTTP(httptest.NewRecorder(), r)
		require.Contains(t, log.String(), `"trace_id":"`+trace+`"`)
	}
	require.Equal(t, "b7ad6b7169203331", c.Await(t, 1, trace)[0].Parent)
}

func TestTheSpanSaysWhatBecameOfTheEvent(t *testing.T) {
	for _, c := range []struct {
		name, outcome, reason, message string
		failed                         bool
		err                            error
	}{
		{name: "stop", outcome: "stopped", reason: "only status", err: event.Stop("only status")},
		{name: "retry", outcome: "retried", failed: true, message: "Slack is away", err: errors.New("Slack is away")},
		{name: "refuse", outcome: "refused", failed: true, message: "no such channel", err: event.Permanent(errors.New("no such channel"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			collector := tracetest.New(t)
			tr := tracer(t, collector.URL, quiet())
			e := eventtest.Sample(event.Update)
			e.Extensions = map[string]string{"traceparent": parent}
			served(t, tr, func(context.Context, event.Event) (*event.Event, error) { return nil, c.err }, &e, nil)
			span := collector.Await(t, 1, trace)[0]
			require.Equal(t, c.outcome, span.Attributes["kwatchman.outcome"])
			require.Equal(t, c.reason, span.Attributes["kwatchman.reason"])
			require.Equal(t, c.failed, span.Failed)
			require.Equal(t, c.message, span.Message)
		})
	}
}

func TestAPanicEndsTheSpan(t *testing.T) {
	c := tracetest.New(t)
	tr := tracer(t, c.URL, quiet())
	e := eventtest.Sample(event.Update)
	require.Panics(t, func() {
		served(t, tr, func(context.Context, event.Event) (*event.Event, error) { panic("content") }, &e, nil)
	})
	span := c.Await(t, 1, "")[0]
	require.True(t, span.Failed)
	require.Equal(t, "the function panicked", span.Message)
}

func TestAnEventThatIsNoneHasASpanOnlyWithinATrace(t *testing.T) {
	c := tracetest.New(t)
	tr := tracer(t, c.URL, quiet())
	for _, header := range []string{"", parent} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("nonsense"))
		r.Header.Set("traceparent", header)
		w := httptest.NewRecorder()
		tr.Handler("echo", event.Handler(echo)).ServeHTTP(w, r)
		require.Equal(t, http.StatusBadRequest, w.Code)
	}
	tr.Close()
	spans := c.Spans()
	require.Len(t, spans, 1)
	require.Equal(t, trace, spans[0].Trace)
	require.Equal(t, "400", spans[0].Attributes["http.response.status_code"])
}

// Also where the function itself is not traced.
func TestLinesAboutAnEventSayItsTrace(t *testing.T) {
	log := &lines{}
	was := slog.Default()
	slog.SetDefault(log.logger().With("function", "echo"))
	t.Cleanup(func() { slog.SetDefault(was) })
	e := eventtest.Sample(event.Update)
	served(t, nil, func(context.Context, event.Event) (*event.Event, error) { return nil, errors.New("no") }, &e, nil)
	require.NotContains(t, log.String(), "trace_id")
	e.Extensions = map[string]string{"traceparent": parent}
	served(t, nil, func(ctx context.Context, _ event.Event) (*event.Event, error) {
		slog.InfoContext(ctx, "at work")
		require.Equal(t, trace, tracing.ID(ctx, &event.Event{}))
		return nil, errors.New("no")
	}, &e, nil)
	require.Equal(t, 2, strings.Count(log.String(), `"trace_id":"`+trace+`","span_id":"b7ad6b7169203331"`), log)
}

func TestHeadersReachTheCollectorAndABusyOneIsAskedAgain(t *testing.T) {
	c := tracetest.New(t)
	c.Answer(http.StatusServiceUnavailable)
	log := &lines{}
	tr := tracer(t, c.URL, log.logger(), "OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20word", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip")
	e := eventtest.Sample(event.Update)
	deliver(tr, &e, nil)
	c.Await(t, 2, "")
	require.GreaterOrEqual(t, len(c.Headers()), 2)
	for _, h := range c.Headers() {
		require.Equal(t, "Bearer word", h.Get("Authorization"))
	}
	require.Empty(t, log.String())
}

func TestWhatTheCollectorDoesNotTakeIsOneLineWithoutASecret(t *testing.T) {
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://elsewhere/secret", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(refuses.Close)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for name, c := range map[string]struct{ url, want string }{
		"refuses": {refuses.URL, "answered 307"}, "not there": {closed.URL, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			log := &lines{}
			u := strings.Replace(c.url, "http://", "http://user:secret@", 1) + "/secret?key=secret"
			tr := tracer(t, u, log.logger(), "OTEL_EXPORTER_OTLP_HEADERS=key=secret", "OTEL_EXPORTER_OTLP_TIMEOUT=200")
			for range 3 {
				e := eventtest.Sample(event.Update)
				deliver(tr, &e, nil)
				time.Sleep(50 * time.Millisecond)
			}
			tr.Close()
			require.Equal(t, 1, strings.Count(log.String(), "\n"), log)
			require.Contains(t, log.String(), "spans not exported, they are dropped")
			require.Contains(t, log.String(), c.want)
			require.NotContains(t, log.String(), "secret")
		})
	}
}

func TestACollectorThatHangsHoldsNothingUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // whose connections nobody answers
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	tr := tracer(t, "http://"+l.Addr().String(), quiet(), "OTEL_BSP_MAX_QUEUE_SIZE=10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=5")
	began := time.Now()
	for range 1000 {
		e := eventtest.Sample(event.Update)
		deliver(tr, &e, nil)
	}
	require.Less(t, time.Since(began), 5*time.Second)
	began = time.Now()
	tr.Close()
	require.Less(t, time.Since(began), 5*time.Second)
}

func TestTracingThatIsOffAllocatesNothing(t *testing.T) {
	var tr *tracing.Tracer
	e := eventtest.Sample(event.Update)
	step := tracing.Step{Name: "1 diff"}
	ctx, now, header := t.Context(), time.Now(), http.Header{}
	log := slog.New(tracing.Logs(slog.DiscardHandler))
	none := httptest.NewRequest(http.MethodPost, "/", nil)
	h := tr.Handler("echo", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	eventtest.Allocs(t, 0, func() {
		change := tr.Begin(&e, now)
		in := change.Carry(&e)
		ctx, attempt := tr.Attempt(change.Context(ctx, in), &step, 1)
		in = attempt.Carry(in)
		tracing.Inject(header, in)
		tracing.Answered(ctx, 200)
		attempt.End("continued", "", 200, nil)
		change.End(in, "delivered", nil)
		log.DebugContext(ctx, "step done")
		h.ServeHTTP(nil, none)
	})
}

func TestAFunctionThatIsNotTracedAllocatesNoMore(t *testing.T) {
	e := eventtest.Sample(event.Update)
	stop := event.Handler(func(context.Context, event.Event) (*event.Event, error) { return nil, event.Stop("") })
	header, body, err := event.Encode(&e)
	require.NoError(t, err)
	call := func(h http.Handler) func() {
		return func() {
			r := &http.Request{Method: http.MethodPost, Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}
			h.ServeHTTP(httptest.NewRecorder(), r.WithContext(t.Context()))
		}
	}
	bare := testing.AllocsPerRun(200, call(stop))
	var off *tracing.Tracer
	eventtest.Allocs(t, int(bare), call(off.Handler("echo", stop)))
}
