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
	text := exposed(m)
	for _, line := range []string{
		`kwatchman_events_lost_total 1`, `kwatchman_dead_letters_total{step="1 diff"} 1`, `kwatchman_queue_oldest_seconds 1`,
		`kwatchman_objects{resource="deployments.apps"} 3`, `kwatchman_step_retries_total{code="503",step="1 diff"} 1`,
	} {
		require.Contains(t, text, line+"\n")
	}
	var none *Metrics // what has no metrics counts nothing
	none.Step("1")
	none.Attempted("1", Continued, 0)
	none.GivenUp("1", true)
	none.Retry("1", 1)
}

func exposed(m *Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// count has each metric of a step and of a resource count something.
func count(m *Metrics, step, resource string) {
	m.Step(step)
	m.Attempted(step, Stopped, time.Second)
	m.Stopped(step, "status")
	m.Retry(step, 503)
	m.GivenUp(step, true)
	m.Watching(resource)
	m.Watch(resource, 1)
	m.Down(resource, 1)
	m.Objects(resource, 3)
	m.Changed(resource, "Add", "watch")
	m.Restarted(resource)
	m.Relisted(resource)
}

func TestWhatAConfigurationNoLongerHasIsInNoMetricAndTheRestGoesOn(t *testing.T) {
	tests := map[string]struct {
		forget     func(*Metrics)
		gone, kept []string
	}{
		"a step": {
			func(m *Metrics) { m.ForgetStep("2 slack") },
			[]string{`step="2 slack"`},
			[]string{`step="1 diff"`, `resource="configmaps"`, `resource="deployments.apps"`},
		},
		"a resource": {
			func(m *Metrics) { m.ForgetResource("configmaps") },
			[]string{`resource="configmaps"`},
			[]string{`step="1 diff"`, `step="2 slack"`, `resource="deployments.apps"`},
		},
		"what never was": {
			func(m *Metrics) { m.ForgetStep("3 log"); m.ForgetResource("secrets") },
			nil,
			[]string{`step="1 diff"`, `step="2 slack"`, `resource="configmaps"`, `resource="deployments.apps"`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := New("test")
			count(m, "1 diff", "deployments.apps")
			count(m, "2 slack", "configmaps")
			before := exposed(m)
			tt.forget(m)
			after := exposed(m)
			for _, label := range tt.gone {
				require.Contains(t, before, label)
				require.NotContains(t, after, label)
			}
			for _, label := range tt.kept {
				require.Equal(t, lines(before, label), lines(after, label), "what is still configured keeps its values")
			}
		})
	}
}

// lines are those that hold a label.
func lines(text, label string) (out []string) {
	for l := range strings.Lines(text) {
		if strings.Contains(l, label) {
			out = append(out, l)
		}
	}
	return out
}

func TestAStepThatComesAgainIsCountedAnewWithReasonsOfItsOwn(t *testing.T) {
	m := New("test")
	for i := range maxReasons {
		m.Stopped("1 diff", strings.Repeat("a", i+1))
	}
	m.Stopped("1 diff", "status")
	require.Contains(t, exposed(m), `{reason="other",step="1 diff"} 1`)
	m.ForgetStep("1 diff")
	m.Step("1 diff")
	m.Stopped("1 diff", "status")
	require.Equal(t, []string{`kwatchman_events_stopped_total{reason="status",step="1 diff"} 1` + "\n"}, lines(exposed(m), "kwatchman_events_stopped_total{"))
	var none *Metrics
	none.ForgetStep("1 diff")
	none.ForgetResource("configmaps")
}

func TestFewAllocationsOfMetrics(t *testing.T) {
	m := New("test")
	m.Step("1 diff")
	counting := func() {
		m.Changed("deployments.apps", "Update", "watch")
		m.Attempted("1 diff", Stopped, time.Millisecond)
		m.Stopped("1 diff", "status")
		m.Delivered(time.Millisecond)
	}
	counting()
	require.LessOrEqual(t, testing.AllocsPerRun(100, counting), 0.0)
}
