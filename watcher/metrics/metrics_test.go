package metrics

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// However an endpoint words its reasons, there are few label values.
func TestReasonsAreFewClasses(t *testing.T) {
	m := New("test")
	for i := range 1000 {
		m.Stopped("1 diff", fmt.Sprintf("only status: replicas %d", i))
		m.Stopped("1 diff", "status of web-"+strings.Repeat("x", i))
		m.Stopped("2 other", strings.Repeat("a", i%60)+"\xff\n")
		m.Stopped("2 other", "")
	}
	require.InDelta(t, 1000, testutil.ToFloat64(m.stopped.WithLabelValues("1 diff", "only status")), 0)
	require.InDelta(t, 1000, testutil.ToFloat64(m.stopped.WithLabelValues("2 other", "none"))-17, 20)
	require.LessOrEqual(t, testutil.CollectAndCount(m.stopped), 2*(maxReasons+2))
	for i := range 1000 {
		m.Retry("1 diff", i)
	}
	require.LessOrEqual(t, testutil.CollectAndCount(m.retries), 11)
}

func TestMetricsAreNamedAsPrometheusWants(t *testing.T) {
	m := New("test")
	m.Step("1 diff")
	m.Attempted("1 diff", Continued, time.Second)
	m.Stopped("1 diff", "status")
	m.Retry("1 diff", 503)
	m.Changed("deployments.apps", "Add", "watch")
	m.Objects("deployments.apps", 3)
	m.Watching("deployments.apps")
	m.Delivered(time.Minute)
	m.GivenUp("1 diff", true)
	m.GivenUp("1 diff", false)
	m.Queue(func() Queue { return Queue{Events: 1, Bytes: 2, Oldest: time.Second} })
	problems, err := testutil.GatherAndLint(m.registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`kwatchman_events_lost_total 1`, `kwatchman_dead_letters_total{step="1 diff"} 1`, `kwatchman_queue_oldest_seconds 1`,
		`kwatchman_objects{resource="deployments.apps"} 3`, `kwatchman_step_retries_total{code="503",step="1 diff"} 1`,
	} {
		require.Contains(t, w.Body.String(), line+"\n")
	}
	var none *Metrics // what has no metrics counts nothing
	none.Step("1")
	none.Attempted("1", Continued, 0)
	none.GivenUp("1", true)
	none.Retry("1", 1)
}

func TestFewAllocationsOfMetrics(t *testing.T) {
	m := New("test")
	m.Step("1 diff")
	count := func() {
		m.Changed("deployments.apps", "Update", "watch")
		m.Attempted("1 diff", Stopped, time.Millisecond)
		m.Stopped("1 diff", "status")
		m.Delivered(time.Millisecond)
	}
	count()
	require.LessOrEqual(t, testing.AllocsPerRun(100, count), 0.0)
}
