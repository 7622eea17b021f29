package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/internal/tracing/tracetest"
)

func tracedTo(url string, more ...string) []string {
	return append([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + url, "OTEL_BSP_SCHEDULE_DELAY=50"}, more...)
}

// one is the only span of a service with that name.
func one(t *testing.T, spans []tracetest.Span, service, name string) tracetest.Span {
	t.Helper()
	found := slices.DeleteFunc(slices.Clone(spans), func(s tracetest.Span) bool { return s.Service != service || s.Name != name })
	require.Len(t, found, 1, "%s of %s in %v", name, service, spans)
	return found[0]
}

// printed gives the lines of JSON that a program printed about the trace.
func printed(o *output, trace string) (found []map[string]any) {
	for line := range strings.Lines(o.String()) {
		var m map[string]any
		if json.Unmarshal([]byte(line), &m) == nil && m["trace_id"] == trace {
			found = append(found, m)
		}
	}
	return found
}

func TestTraceOfAChangeGoesFromTheWatcherThroughTheFunctions(t *testing.T) {
	c := newCluster(t)
	collector := tracetest.New(t)
	diffURL, diff := startFunction(t, "diff", tracedTo(collector.URL)...)
	logURL, log := startFunction(t, "log", tracedTo(collector.URL, "LOG_FORMAT=json")...)
	w := c.startWatcher(tracedTo(collector.URL, "KW_RESOURCES=configmaps", "KW_HANDLERS="+diffURL+","+logURL+","+refusing(t))...)
	require.Equal(t, collector.URL, w.stderr.find("starting")["traces"])
	c.create(configMaps, configMap("walls", map[string]any{"colour": "secret-white"}))

	w.await("change not delivered")
	trace, _ := w.stderr.find("change not delivered")["trace_id"].(string)
	require.Len(t, trace, 32)
	spans := collector.Await(t, 6, trace)
	require.Len(t, spans, 6)
	root := one(t, spans, "kwatchman", "Add ConfigMap")
	require.Empty(t, root.Parent)
	require.True(t, root.Failed)
	require.Equal(t, "walls", root.Attributes["kwatchman.name"])
	require.Equal(t, c.namespace, root.Attributes["k8s.namespace.name"])
	for place, f := range []struct{ name, url string }{{"diff", diffURL}, {"log", logURL}} {
		step := one(t, spans, "kwatchman", "step "+string(rune('1'+place))+" "+f.url)
		require.Equal(t, root.ID, step.Parent)
		require.Equal(t, "SPAN_KIND_CLIENT", step.Kind)
		require.Equal(t, "continued", step.Attributes["kwatchman.outcome"])
		function := one(t, spans, "kwatchman-"+f.name, f.name)
		require.Equal(t, step.ID, function.Parent)
		require.Equal(t, "SPAN_KIND_SERVER", function.Kind)
		require.Equal(t, root.Attributes["cloudevents.event_id"], function.Attributes["cloudevents.event_id"])
	}
	lines := printed(log.stdout, trace)
	require.Len(t, lines, 1)
	require.Equal(t, root.Attributes["cloudevents.event_id"], lines[0]["cloudevents.event_id"])
	for _, s := range spans {
		for name, value := range s.Attributes {
			require.NotContains(t, value, "secret-white", name)
		}
	}
	for _, p := range []*process{w, diff, log} {
		require.Equal(t, 0, p.stop())
	}
}

// refusing is an endpoint that takes nothing.
func refusing(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	t.Cleanup(s.Close)
	return s.URL
}

func TestTraceIsOneInTheAllInOneAndOutlivesARestart(t *testing.T) {
	c := newCluster(t)
	collector := tracetest.New(t)
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer away.Close()
	env := c.watcherEnv(tracedTo(collector.URL, "KW_RESOURCES=configmaps", "KW_STATE_DIR="+t.TempDir(), "LOG_FORMAT=json", "OTEL_SERVICE_NAME=mine")...)
	first := start(t, "kwatchman", append(env, "KW_HANDLERS=diff,"+away.URL)...)
	first.await("ready")
	c.create(configMaps, configMap("walls", nil))
	first.await("step fails, trying again")
	trace, _ := first.stderr.find("step fails, trying again")["trace_id"].(string)
	require.NoError(t, first.cmd.Process.Kill())
	first.wait()

	second := start(t, "kwatchman", append(env, "KW_HANDLERS=diff,log")...)
	eventually(t, func() bool { return len(printed(second.stdout, trace)) == 1 }, "no line of the same trace")
	// The root, the second step and its function: diff is not asked once more, and what
	// the first process had to send of it may be lost.
	var spans []tracetest.Span
	eventually(t, func() bool {
		spans = collector.Await(t, 3, trace)
		return slices.ContainsFunc(spans, func(s tracetest.Span) bool { return s.Name == "Add ConfigMap" }) &&
			slices.ContainsFunc(spans, func(s tracetest.Span) bool { return s.Name == "log" })
	}, "the spans of the second process")
	root := one(t, spans, "mine", "Add ConfigMap")
	for _, s := range spans {
		if strings.HasPrefix(s.Name, "step ") {
			require.Equal(t, root.ID, s.Parent, "also of the run before")
		}
	}
	built := one(t, spans, "mine", "log")
	require.Equal(t, one(t, spans, "mine", "step 2 log").ID, built.Parent)
}

// sequence walks functions as Knative's dispatcher does: binary mode, the
// event's attributes kept, and no header of the request but those of the event.
// Its own trace goes in a header.
func sequence(t *testing.T, header string, functions ...string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		attributes, body := r.Header, r.Body
		for _, f := range functions {
			next, err := http.NewRequestWithContext(r.Context(), http.MethodPost, f, body)
			if err != nil {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			for name, values := range attributes {
				if strings.HasPrefix(name, "Ce-") || name == "Content-Type" {
					next.Header[name] = values
				}
			}
			next.Header.Set("Prefer", "reply")
			if header != "" {
				next.Header.Set("traceparent", header)
			}
			resp, err := http.DefaultClient.Do(next)
			if err != nil || resp.StatusCode >= 300 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			all, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			attributes, body = resp.Header, io.NopCloser(bytes.NewReader(all))
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestTraceShowsThroughASequence(t *testing.T) {
	c := newCluster(t)
	for name, header := range map[string]string{
		"whose dispatcher says nothing":        "",
		"whose dispatcher has a trace, too":    "00-11111111111111111111111111111111-aaaaaaaaaaaaaaaa-01",
		"whose dispatcher does not sample its": "00-11111111111111111111111111111111-aaaaaaaaaaaaaaaa-00",
	} {
		t.Run(name, func(t *testing.T) {
			collector := tracetest.New(t)
			diffURL, _ := startFunction(t, "diff", tracedTo(collector.URL)...)
			// ignoreevents is not traced itself, and passes the trace on.
			middleURL, _ := startFunction(t, "ignoreevents", "IGNOREEVENTS_EVENTS=Delete")
			logURL, log := startFunction(t, "log", tracedTo(collector.URL, "LOG_FORMAT=json")...)
			w := c.startWatcher(tracedTo(collector.URL, "KW_RESOURCES=configmaps", "K_SINK="+sequence(t, header, diffURL, middleURL, logURL).URL)...)
			object := configMap("walls-"+strings.ToLower(string(rune('a'+len(name)%26))), nil)
			c.create(configMaps, object)
			eventually(t, func() bool { return log.stdout.String() != "" }, "nothing printed")
			require.Equal(t, 0, w.stop())
			spans := collector.Await(t, 4, "")
			post := slices.DeleteFunc(slices.Clone(spans), func(s tracetest.Span) bool { return s.Kind != "SPAN_KIND_CLIENT" })[0]
			spans = collector.Await(t, 4, post.Trace)
			require.Equal(t, one(t, spans, "kwatchman", "Add ConfigMap").ID, post.Parent)
			for _, f := range []string{"diff", "log"} {
				require.Equal(t, post.ID, one(t, spans, "kwatchman-"+f, f).Parent)
			}
			require.Len(t, printed(log.stdout, post.Trace), 1)
		})
	}
}

func TestTraceCollectorThatHangsHoldsUpNeitherChangesNorTheStop(t *testing.T) {
	c := newCluster(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	hangs := tracedTo("http://"+l.Addr().String()+"/secret", "OTEL_EXPORTER_OTLP_TIMEOUT=300", "OTEL_EXPORTER_OTLP_HEADERS=key=secret")
	logURL, log := startFunction(t, "log", append(hangs, "LOG_FORMAT=json")...)
	w := c.startWatcher(append(hangs, "KW_RESOURCES=configmaps", "KW_HANDLERS="+logURL)...)
	for _, name := range []string{"a", "b", "c"} {
		c.create(configMaps, configMap(name, nil))
	}
	eventually(t, func() bool { return strings.Count(log.stdout.String(), "\n") == 2 }, "three lines")
	w.await("spans not exported, they are dropped")
	began := time.Now()
	for _, p := range []*process{w, log} {
		require.Equal(t, 0, p.stop())
		require.NotContains(t, p.stderr.String(), "secret")
	}
	require.Less(t, time.Since(began), 20*time.Second)
	require.EqualValues(t, 3, w.stderr.find("stopped")["delivered"])
}

func TestTraceSettingThatIsBadEndsTheStart(t *testing.T) {
	env := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "KW_HANDLERS=http://127.0.0.1:9"}
	for _, name := range []string{"watcher", "diff"} {
		code, _, errs := runToEnd(t, name, nil, env)
		require.Equal(t, 1, code)
		require.Equal(t, name+": OTEL_EXPORTER_OTLP_PROTOCOL: bad value: want http/protobuf, "+
			"which collectors take at port 4318; grpc and http/json are not spoken\n", errs)
	}
}
