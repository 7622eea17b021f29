package chain

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/internal/tracing/tracetest"
)

func newTracer(t *testing.T, collector string) *tracing.Tracer {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	tr, err := tracing.New(tracing.Config{Service: "kwatchman", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(tr.Close)
	return tr
}

// byName are spans by name; those of one name are in the order of their start.
func byName(spans []tracetest.Span) map[string][]tracetest.Span {
	out := map[string][]tracetest.Span{}
	for _, s := range spans {
		out[s.Name] = append(out[s.Name], s)
	}
	return out
}

// seen collects the traces that an endpoint was told.
type seen struct {
	mu     sync.Mutex
	header []string
	event  []string
}

func (s *seen) look(t *testing.T, r *http.Request) event.Event {
	e := received(t, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.header = append(s.header, r.Header.Get("traceparent"))
	s.event = append(s.event, e.Extensions["traceparent"])
	return e
}

func TestOneTraceAChangeWithASpanForEachAttempt(t *testing.T) {
	collector := tracetest.New(t)
	var at seen
	fails := true
	last := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		at.look(t, r)
		if fails {
			fails = false
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set(event.ReasonHeader, "that is all")
		w.WriteHeader(http.StatusNoContent)
	})
	c := start(t, Config{
		Steps:  []Target{{Name: "forward", Handler: event.Handler(forward)}, {URL: last + "/long-secret-path"}},
		Tracer: newTracer(t, collector.URL),
	})
	it := change("web", 1)
	c.push(it)
	c.finish()

	spans := collector.Await(t, 5, "")
	require.Len(t, spans, 5)
	of := byName(spans)
	root := of["Update Deployment"][0]
	require.Empty(t, root.Parent)
	require.Equal(t, stopped, root.Attributes["kwatchman.outcome"])
	require.Equal(t, "web", root.Attributes["k8s.deployment.name"])
	require.False(t, root.Failed)
	for _, s := range spans {
		require.Equal(t, root.Trace, s.Trace)
		require.False(t, s.Start.Before(root.Start))
	}
	here := of["step 1 forward"][0]
	require.Equal(t, root.ID, here.Parent)
	require.Equal(t, "continued", here.Attributes["kwatchman.outcome"])
	require.Equal(t, here.ID, of["forward"][0].Parent, "a built-in function has its span too")
	attempts := of["step 2 "+last]
	require.Len(t, attempts, 2)
	require.Equal(t, "retried", attempts[0].Attributes["kwatchman.outcome"])
	require.Equal(t, "503", attempts[0].Attributes["http.response.status_code"])
	require.Equal(t, "answered 503: busy", attempts[0].Message)
	require.Equal(t, "2", attempts[1].Attributes["kwatchman.attempt"])
	require.Equal(t, "that is all", attempts[1].Attributes["kwatchman.reason"])
	for i, s := range attempts {
		require.Equal(t, root.ID, s.Parent)
		require.Equal(t, "00-"+root.Trace+"-"+s.ID+"-01", at.header[i])
		require.Equal(t, at.header[i], at.event[i])
		for name, value := range s.Attributes {
			require.NotContains(t, value, "long-secret-path", name)
		}
	}
	for _, message := range []string{"step fails, trying again", "step recovered", "chain stopped"} {
		lines := c.log.with(t, message)
		require.Len(t, lines, 1, message)
		require.Equal(t, root.Trace, lines[0]["trace_id"], message)
	}
}

func TestADeadLetterMarksTheChangeAndGoesOnWithItsTrace(t *testing.T) {
	collector := tracetest.New(t)
	tracer := newTracer(t, collector.URL)
	refuses := endpoint(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	var letter *event.Event
	run := func(steps []Target, it *item) *running {
		c := prepare(t, Config{Steps: steps, Tracer: tracer})
		c.SetDeadLetter(letterbox(func(e *event.Event) error {
			letter = e
			return nil
		}))
		c.run()
		c.push(it)
		c.finish()
		return c
	}
	c := run([]Target{{Name: "forward", Handler: event.Handler(forward)}, {URL: refuses}}, change("web", 1))
	first := byName(collector.Await(t, 4, ""))["Update Deployment"][0]
	require.True(t, first.Failed)
	require.Equal(t, "answered 403: no", first.Message)
	require.Equal(t, deadLettered, first.Attributes["kwatchman.outcome"])
	require.Equal(t, "00-"+first.Trace+"-"+first.ID+"-01", letter.Extensions["traceparent"], "that of the change, not of a step")
	require.Equal(t, first.Trace, c.log.with(t, notDelivered)[0]["trace_id"])

	run(steps(endpoint(t, sink)), &item{event: *letter}) // a replay
	again := byName(collector.Await(t, 6, first.Trace))["Update Deployment"]
	require.Len(t, again, 2)
	require.Equal(t, first.ID, again[1].Parent)
	require.False(t, again[1].Failed)
}

// letterbox is a dead letter.
type letterbox func(*event.Event) error

func (letterbox) Name() string                                  { return "box" }
func (b letterbox) Put(_ context.Context, e *event.Event) error { return b(e) }

func TestInKnativeModeTheTraceGoesWithTheEvent(t *testing.T) {
	collector := tracetest.New(t)
	var at seen
	to := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		at.look(t, r)
		w.WriteHeader(http.StatusAccepted)
	})
	c := start(t, Config{Steps: steps(to), Sink: true, Tracer: newTracer(t, collector.URL)})
	c.push(change("web", 1))
	c.finish()
	spans := byName(collector.Await(t, 2, ""))
	require.Equal(t, delivered, spans["Update Deployment"][0].Attributes["kwatchman.outcome"])
	post := spans["step 1 "+to][0]
	require.Equal(t, "202", post.Attributes["http.response.status_code"])
	require.Equal(t, "00-"+post.Trace+"-"+post.ID+"-01", at.event[0])
	require.Equal(t, at.event, at.header)
}

func TestAReplyThatLosesOrChangesTheTraceIsNoBreach(t *testing.T) {
	for name, h := range map[string]event.Handler{
		"keeps": forward,
		"plain": nil,
		"other": func(_ context.Context, e event.Event) (*event.Event, error) { return &e, nil },
	} {
		t.Run(name, func(t *testing.T) {
			collector := tracetest.New(t)
			var at seen
			first := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
				if h == nil {
					w.Header().Set("Content-Type", "application/json")
					_, _ = w.Write([]byte(`{"continue": true}`))
					return
				}
				if name == "other" {
					w.Header().Set("Ce-Traceparent", "")
				}
				h.ServeHTTP(w, r)
			})
			last := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
				at.look(t, r)
				w.WriteHeader(http.StatusNoContent)
			})
			c := start(t, Config{Steps: steps(first, last), Tracer: newTracer(t, collector.URL)})
			c.push(change("web", 1))
			c.finish()
			spans := byName(collector.Await(t, 3, ""))
			require.Contains(t, at.event[0], spans["step 2 "+last][0].ID)
		})
	}
}

func TestWithoutTracingATraceIsPassedOnAsItIs(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	var at seen
	to := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		at.look(t, r)
		w.WriteHeader(http.StatusNoContent)
	})
	c := start(t, Config{Steps: steps(function(t, forward), to)})
	it := change("web", 1)
	it.event.Extensions = map[string]string{"traceparent": parent}
	c.push(it)
	c.finish()
	require.Equal(t, []string{parent}, at.event)
	require.Equal(t, []string{parent}, at.header)
	require.Equal(t, "0af7651916cd43dd8448eb211c80319c", c.log.with(t, "chain stopped")[0]["trace_id"])
}

func TestACollectorThatIsAwayLosesNoChange(t *testing.T) {
	gone := endpoint(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the client leaves
		<-r.Context().Done()
	})
	tracer := newTracer(t, gone)
	c := start(t, Config{Steps: []Target{{Name: "sink", Handler: http.HandlerFunc(sink)}}, Tracer: tracer})
	began := time.Now()
	for i := range 5000 { // more than the queue of spans holds
		c.push(change(strings.Repeat("x", i%7+1), i))
	}
	c.finish()
	done, givenUp := c.Counts()
	require.EqualValues(t, 5000, done)
	require.Zero(t, givenUp)
	require.Less(t, time.Since(began), 30*time.Second)
}

var errBox = errors.New("full")

func TestAChangeThatIsLostAtTheStopSaysSo(t *testing.T) {
	collector := tracetest.New(t)
	c := prepare(t, Config{
		Steps:  steps(endpoint(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })),
		Tracer: newTracer(t, collector.URL), RetryWaitMin: time.Minute, RetryWaitMax: time.Minute,
	})
	c.SetDeadLetter(letterbox(func(*event.Event) error { return errBox }))
	c.run()
	c.push(change("web", 1))
	collector.Await(t, 1, "")
	c.cutOff()
	root := byName(collector.Await(t, 2, ""))["Update Deployment"][0]
	require.True(t, root.Failed)
	require.Equal(t, lost, root.Attributes["kwatchman.outcome"])
	require.Equal(t, errStopped.Error(), root.Message)
}

func TestAChangeThatGoesOnBetweenTwoStepsHasOneTrace(t *testing.T) {
	collector := tracetest.New(t)
	tracer := newTracer(t, collector.URL)
	first, second := newStation(t, http.StatusOK), newStation(t, http.StatusServiceUnavailable)
	_, waits := left(t, Config{Tracer: tracer}, first, second)
	second.status.Store(http.StatusNoContent)
	deliverAgain(t, waits, Config{Steps: targetsOf(first, second), Tracer: tracer})
	spans := byName(collector.Await(t, 2+int(second.requests.Load()), "")) // each attempt, and the change
	root := spans["Update Deployment"]
	require.Len(t, root, 1)
	require.Equal(t, root[0].ID, spans["step 1 "+first.URL][0].Parent, "of the chain before")
	for _, s := range spans["step 2 "+second.URL] {
		require.Equal(t, root[0].ID, s.Parent)
	}
}
