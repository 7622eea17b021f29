package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// strictSlack is a webhook that takes one message a second, as Slack's do, and
// answers 429 otherwise.
type strictSlack struct {
	*httptest.Server
	mu       sync.Mutex
	last     time.Time
	refused  int
	accepted []string
}

func newStrictSlack(t *testing.T) *strictSlack {
	t.Helper()
	s := &strictSlack{}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *strictSlack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.last) < time.Second {
		s.refused++
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	s.last = now
	s.accepted = append(s.accepted, string(body))
	_, _ = io.WriteString(w, "ok")
}

func (s *strictSlack) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.accepted...)
}

// burstSize is how many changes are made: 20, or what KWATCHMAN_BURST says.
func burstSize(t *testing.T) int {
	t.Helper()
	text := os.Getenv("KWATCHMAN_BURST")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// step finds in a message which step of which object it tells.
var step = regexp.MustCompile(`step burst-(\d+)-(\d+) → burst-(\d+)-(\d+)`)

// A team changes much at once; Slack takes a message a second.
func TestBurstReachesASlackThatTakesOneMessageASecond(t *testing.T) {
	size := burstSize(t)
	objects := max(4, size/20)
	c, slack := newCluster(t), newStrictSlack(t)
	value := func(object, step int) string { return fmt.Sprintf("burst-%d-%d", object, step) }
	for i := range objects {
		c.create(configMaps, configMap(fmt.Sprintf("burst-%d", i), map[string]any{"step": value(i, 0)}))
	}
	w := c.startAllInOne([]string{"-n", c.namespace}, "KW_RESOURCES=configmaps", "KW_HANDLERS=diff,slack",
		"SLACK_WEBHOOK_URL="+slack.URL+secretPath)
	began := time.Now()
	for n := range size {
		object := n % objects
		c.patch(configMaps, fmt.Sprintf("burst-%d", object), fmt.Sprintf(`{"data":{"step":%q}}`, value(object, n/objects+1)))
	}
	made := time.Since(began)
	require.Eventually(t, func() bool { return len(slack.got()) >= size }, time.Minute+time.Duration(size)*2*time.Second, 100*time.Millisecond,
		"all messages")
	took := time.Since(began)
	require.Equal(t, 0, w.stop())

	last := make([]int, objects)
	for _, message := range slack.got() {
		found := step.FindStringSubmatch(message)
		require.NotNil(t, found, message)
		require.Equal(t, found[1], found[3])
		object, _ := strconv.Atoi(found[3])
		now, _ := strconv.Atoi(found[4])
		require.Equal(t, last[object]+1, now, "object %d: in order, none missing, none twice", object)
		last[object] = now
	}
	require.Len(t, slack.got(), size)
	require.NotContains(t, w.stderr.String(), "very-secret-token")
	t.Logf("%d changes of %d objects made in %s; %s later all had arrived, in order: %d messages accepted, %d answered 429, %d given up",
		size, objects, made.Round(time.Second), (took - made).Round(time.Second), len(slack.got()), slack.refused,
		strings.Count(w.stderr.String(), "given up"))
}
