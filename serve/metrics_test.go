package serve

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

func TestMetricsCountWhatBecameOfRequests(t *testing.T) {
	m := newMetrics("echo")
	h := m.count(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stop":
			w.WriteHeader(http.StatusNoContent)
		case "/busy":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/bad":
			http.Error(w, "no event", http.StatusBadRequest)
		default:
			_, _ = w.Write([]byte("{}"))
		}
	}))
	for _, path := range []string{"/", "/", "/stop", "/busy", "/bad"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, nil))
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, "text/plain; version=0.0.4; charset=utf-8", w.Header().Get("Content-Type"))
	text := w.Body.String()
	for _, line := range []string{
		`kwatchman_function_requests_total{function="echo",outcome="continued"} 2`,
		`kwatchman_function_requests_total{function="echo",outcome="stopped"} 1`,
		`kwatchman_function_requests_total{function="echo",outcome="retry"} 1`,
		`kwatchman_function_requests_total{function="echo",outcome="refused"} 1`,
		`kwatchman_function_duration_seconds_count{function="echo"} 5`,
		`kwatchman_function_requests_in_flight{function="echo"} 0`,
	} {
		require.Contains(t, text, line+"\n")
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(t, err)
	require.Contains(t, families, "process_resident_memory_bytes")
}
