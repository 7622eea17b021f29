package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// slackStandIn is Slack's webhook endpoint: it keeps what it accepts and
// refuses first as often as it is told.
type slackStandIn struct {
	*httptest.Server
	mu       sync.Mutex
	refuse   int
	attempts []time.Time
	messages []map[string]any
}

func newSlack(t *testing.T, refuse int) *slackStandIn {
	t.Helper()
	s := &slackStandIn{refuse: refuse}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.attempts = append(s.attempts, time.Now())
		if s.refuse > 0 {
			s.refuse--
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		var m map[string]any
		if json.NewDecoder(r.Body).Decode(&m) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.messages = append(s.messages, m)
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *slackStandIn) got() []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]map[string]any{}, s.messages...)
}

const secretPath = "/services/T000/B000/very-secret-token"

func TestAChangeReachesSlackThroughDiffAndIgnoreevents(t *testing.T) {
	c := newCluster(t)
	slackServer := newSlack(t, 0)
	diff, _ := startFunction(t, "diff")
	ignore, _ := startFunction(t, "ignoreevents", "IGNOREEVENTS_EVENTS=Add,Delete")
	slack, slackProcess := startFunction(t, "slack", "SLACK_WEBHOOK_URL="+slackServer.URL+secretPath)
	w := c.startWatcher("KW_HANDLERS="+diff+","+ignore+","+slack, "KW_RESOURCES=deployments")

	c.create(deployments, deployment("web", "nginx:1.27"))
	c.patch(deployments, "web", `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"nginx:1.28"}]}}}}`)
	c.patch(deployments, "web", `{"status":{"observedGeneration":2}}`, "status")
	c.delete(deployments, "web")
	eventually(t, func() bool { return strings.Contains(w.stderr.String(), ".delete") }, "the delete is stopped")
	require.Equal(t, 0, w.stop())

	messages := slackServer.got()
	require.Len(t, messages, 1, "one update; add, delete and status are stopped")
	text := strings.Join(texts(messages[0]), "\n")
	for _, part := range []string{
		"UPDATE Deployment " + c.namespace + "/web", "cluster test", "by e2e", "image of app 1.27 → 1.28", "+      - image: nginx:1.28",
	} {
		require.Contains(t, text, part)
	}
	require.NotContains(t, slackProcess.stderr.String()+w.stderr.String(), "very-secret-token")
}

func TestASlackThatIsBusyGetsTheMessageOnce(t *testing.T) {
	c := newCluster(t)
	slackServer := newSlack(t, 1)
	slack, _ := startFunction(t, "slack", "SLACK_WEBHOOK_URL="+slackServer.URL+secretPath)
	w := c.startWatcher("KW_HANDLERS="+slack, "KW_RESOURCES=configmaps")
	c.create(configMaps, configMap("one", nil))
	eventually(t, func() bool { return len(slackServer.got()) > 0 }, "the message")
	require.Equal(t, 0, w.stop())
	require.Len(t, slackServer.got(), 1)
	require.Len(t, slackServer.attempts, 2)
	require.GreaterOrEqual(t, slackServer.attempts[1].Sub(slackServer.attempts[0]), time.Second, "Retry-After is kept")
	require.NotContains(t, w.stderr.String(), "very-secret-token")
}

func TestOnlyTheFailingStepIsTriedAgain(t *testing.T) {
	c := newCluster(t)
	var mu sync.Mutex
	failures := 3
	flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if failures > 0 {
			failures--
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"continue": true, "payload": {"seen": 1}}`)
	}))
	defer flaky.Close()
	first, last := record(t, nil), record(t, nil)
	c.startWatcher("KW_HANDLERS="+first.URL+" , "+flaky.URL+","+last.URL, "KW_RESOURCES=configmaps",
		"KW_RETRY_WAIT_MIN=10ms", "KW_RETRY_WAIT_MAX=50ms")
	c.create(configMaps, configMap("one", nil))
	e := last.await(t, "one", 1)[0]
	require.Len(t, first.got("one"), 1, "the first step is not repeated")
	require.Equal(t, "application/json", e.Payload.ContentType)
	require.JSONEq(t, `{"seen": 1}`, string(e.Payload.Data))
}

func TestAPermanentAnswerIsGivenUpAndSaid(t *testing.T) {
	c := newCluster(t)
	var mu sync.Mutex
	posts := 0
	wrong := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		posts++
		http.Error(w, "no such thing", http.StatusUnprocessableEntity)
	}))
	defer wrong.Close()
	w := c.startWatcher("KW_HANDLERS="+wrong.URL, "KW_RESOURCES=configmaps")
	c.create(configMaps, configMap("one", nil))
	w.await("change not delivered")
	line := w.stderr.find("change not delivered")
	require.Equal(t, "ERROR", line["level"])
	require.Contains(t, line["error"], "422: no such thing")
	require.Contains(t, line["subject"], "/configmaps/one")
	require.Equal(t, 0, w.stop())
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 1, posts)
}

func TestInKnativeModeTheSinkGetsEveryEvent(t *testing.T) {
	c := newCluster(t)
	sink, unused := recordRaw(t), recordRaw(t)
	w := c.startWatcher("KW_HANDLERS="+unused.URL, "KW_RESOURCES=configmaps", "K_SINK="+sink.URL,
		`K_CE_OVERRIDES={"extensions":{"region":"eu"}}`)
	require.NotNil(t, w.stderr.find("K_SINK is set, so the configured handlers are not used"))
	c.create(configMaps, configMap("one", nil))
	eventually(t, func() bool { return strings.Contains(sink.String(), "Ce-Region: eu") }, "the override")
	require.Equal(t, 0, w.stop())
	require.Empty(t, unused.String())
	require.Contains(t, sink.String(), "Ce-Type: dev.kwatchman.resource.add")
	require.Equal(t, 1, strings.Count(w.stderr.String(), `"level":"WARN"`))
}

func TestInKnativeModeAnHTTPSSinkIsTrustedThroughItsCertificate(t *testing.T) {
	c := newCluster(t)
	got := make(chan struct{}, 1)
	sink := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		got <- struct{}{}
	}))
	defer sink.Close()
	c.startWatcher("KW_RESOURCES=configmaps", "K_SINK="+sink.URL, "K_CA_CERTS="+certificate(sink))
	c.create(configMaps, configMap("one", nil))
	select {
	case <-got:
	case <-time.After(patience):
		require.Fail(t, "nothing arrived")
	}
}

func TestAStopFinishesWhatIsInFlight(t *testing.T) {
	c := newCluster(t)
	entered, release := make(chan struct{}), make(chan struct{})
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		w.WriteHeader(http.StatusNoContent)
	}))
	defer sink.Close()
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=configmaps")
	c.create(configMaps, configMap("one", nil))
	<-entered
	require.NoError(t, w.cmd.Process.Signal(syscall.SIGTERM))
	w.await("stopping")
	close(release)
	require.Equal(t, 0, w.wait())
	require.NotContains(t, w.stderr.String(), "change not delivered")
	require.NotContains(t, w.stderr.String(), "changes lost")
}

func TestAStopGoesOnTryingUntilTheSinkIsBack(t *testing.T) {
	c := newCluster(t)
	var mu sync.Mutex
	stopping, refused := false, 0
	got := make(chan struct{}, 10)
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if refused++; !stopping || refused < 5 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
		got <- struct{}{}
	}))
	defer sink.Close()
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=configmaps", "KW_RETRY_WAIT_MIN=1h", "KW_RETRY_WAIT_MAX=1h")
	c.create(configMaps, configMap("one", nil))
	w.await("step fails, trying again")
	require.NoError(t, w.cmd.Process.Signal(syscall.SIGTERM))
	w.await("stopping")
	mu.Lock()
	stopping = true
	mu.Unlock()
	require.Equal(t, 0, w.wait())
	require.Len(t, got, 1)
	require.NotContains(t, w.stderr.String(), "change not delivered")
}

func TestALogWhoseReaderIsGoneFailsTheEventAndLivesOn(t *testing.T) {
	c := newCluster(t)
	log, p := startFunction(t, "log")
	sink := record(t, nil)
	require.NoError(t, p.closeStdout())
	w := c.startWatcher("KW_HANDLERS="+log+","+sink.URL, "KW_RESOURCES=configmaps", "KW_RETRY_MAX=1", "KW_RETRY_WAIT_MIN=10ms")
	c.create(configMaps, configMap("one", nil))
	w.await("change not delivered")
	require.Contains(t, w.stderr.find("change not delivered")["error"], "answered 500")
	require.Empty(t, sink.got(""))
	require.Equal(t, 0, p.stop())
}
