package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// scrape reads metrics: the sum of each name's values whose labels are those given.
func scrape(t *testing.T, url string) func(name string, labels ...string) float64 {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	require.NoError(t, err)
	return func(name string, labels ...string) (sum float64) {
		require.Contains(t, families, name, string(text))
		for _, m := range families[name].GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			match := true
			for i := 0; i < len(labels); i += 2 {
				match = match && have[labels[i]] == labels[i+1]
			}
			if match {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		return sum
	}
}

// address is where a program says that it serves something.
func (p *process) address(msg string) string {
	p.await(msg)
	_, port, _ := strings.Cut(p.stderr.find(msg)["address"].(string), "]:")
	return "http://127.0.0.1:" + port
}

func TestMetricsSayWhatHappened(t *testing.T) {
	c := newCluster(t)
	c.create(configMaps, configMap("old", map[string]any{"a": "1"}))
	diff, diffProcess := startFunction(t, "diff", "METRICS_PORT=0")
	sink := record(t, nil)
	var failed atomic.Bool
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.Header.Get("Ce-Subject"), "unwanted"):
			w.WriteHeader(http.StatusForbidden)
		case failed.CompareAndSwap(false, true):
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			sink.Config.Handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	file := filepath.Join(t.TempDir(), "empty.toml")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	w := c.startWatcher("KW_HANDLERS="+diff+","+front.URL, "KW_RESOURCES=configmaps", "KW_METRICS_ADDR=:0", "KW_RETRY_WAIT_MIN=10ms",
		"KW_CONCURRENCY=1", "KW_STATE_DIR="+t.TempDir(), "KW_LEASE="+c.namespace+"/watchers", "KW_CONFIG_FILE="+file)
	url := w.address("serving health")

	c.create(configMaps, configMap("new", map[string]any{"a": "1"}))
	sink.await(t, "new", 1)
	c.patch(configMaps, "new", `{"data":{"a":"2"}}`)
	sink.await(t, "new", 2)
	c.patch(configMaps, "new", `{"metadata":{"annotations":{"deployment.kubernetes.io/revision":"2"}}}`) // diff stops it
	c.create(configMaps, configMap("unwanted", nil))
	w.await("change not delivered")

	var value func(string, ...string) float64
	eventually(t, func() bool {
		value = scrape(t, url+"/metrics")
		return value("kwatchman_queue_events") == 0 && value("kwatchman_events_delivered_total") == 3
	}, "the queue is empty")
	first, second := "1 "+diff, "2 "+front.URL
	for _, want := range []struct {
		value  float64
		name   string
		labels []string
	}{
		{2, "kwatchman_changes_total", []string{"resource", "configmaps", "action", "Add", "via", "watch"}},
		{2, "kwatchman_changes_total", []string{"resource", "configmaps", "action", "Update"}},
		{3, "kwatchman_objects", []string{"resource", "configmaps"}},
		{3, "kwatchman_step_requests_total", []string{"step", first, "outcome", "continued"}},
		{1, "kwatchman_step_requests_total", []string{"step", first, "outcome", "stopped"}},
		{1, "kwatchman_events_stopped_total", []string{"step", first}},
		{1, "kwatchman_step_requests_total", []string{"step", second, "outcome", "retried"}},
		{1, "kwatchman_step_requests_total", []string{"step", second, "outcome", "refused"}},
		{1, "kwatchman_step_retries_total", []string{"step", second, "code", "503"}},
		{1, "kwatchman_dead_letters_total", []string{"step", second}},
		{0, "kwatchman_events_lost_total", nil},
		{3, "kwatchman_delivery_duration_seconds", nil},
		{4, "kwatchman_step_duration_seconds", []string{"step", first}},
		{0, "kwatchman_queue_bytes", nil},
		{0, "kwatchman_queue_oldest_seconds", nil},
		{0, "kwatchman_relists_total", []string{"resource", "configmaps"}},
		{0, "kwatchman_watch_restarts_total", []string{"resource", "configmaps"}},
		{1, "kwatchman_watches", []string{"resource", "configmaps"}},
		{0, "kwatchman_watches_down", []string{"resource", "configmaps"}},
		{1, "kwatchman_build_info", nil},
	} {
		require.InDelta(t, want.value, value(want.name, want.labels...), 0, "%s %v", want.name, want.labels)
	}
	require.Positive(t, value("kwatchman_state_bytes"))

	functions := scrape(t, diffProcess.address("serving metrics")+"/metrics")
	require.InDelta(t, 3, functions("kwatchman_function_requests_total", "outcome", "continued"), 0)
	require.InDelta(t, 1, functions("kwatchman_function_requests_total", "outcome", "stopped"), 0)
	require.InDelta(t, 4, functions("kwatchman_function_duration_seconds"), 0)

	// What the dashboard and the alerts ask for is there.
	for _, file := range []string{"dashboard.json", "rules.yaml"} {
		text, err := os.ReadFile(filepath.Join("../../deploy/monitoring", file))
		require.NoError(t, err)
		names := regexp.MustCompile(`kwatchman_[a-z_]+`).FindAllString(string(text), -1)
		require.Greater(t, len(names), 5)
		for _, name := range names {
			of := value
			if strings.HasPrefix(name, "kwatchman_function_") {
				of = functions
			}
			of(strings.TrimSuffix(name, "_bucket")) // fails where there is none
		}
	}

	c.delete(configMaps, "new")
	eventually(t, func() bool { return scrape(t, url+"/metrics")("kwatchman_objects", "resource", "configmaps") == 2 }, "one object less")
	require.Equal(t, 0, w.stop())
}

// An endpoint that does not answer shows in the queue.
func TestTheOldestEventAges(t *testing.T) {
	c := newCluster(t)
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(sink.Close)
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=configmaps", "KW_METRICS_ADDR=:0", "KW_RETRY_WAIT_MIN=10ms", "KW_RETRY_WAIT_MAX=100ms")
	url := w.address("serving health")
	began := time.Now()
	c.create(configMaps, configMap("stuck", nil))
	eventually(t, func() bool {
		value := scrape(t, url+"/metrics")
		oldest := value("kwatchman_queue_oldest_seconds")
		require.LessOrEqual(t, oldest, time.Since(began).Seconds())
		return oldest > 0.5 && value("kwatchman_queue_events") == 1 && value("kwatchman_queue_bytes") > 0 && value("kwatchman_step_retries_total", "code", "502") > 2
	}, "the oldest is older than half a second")
}
