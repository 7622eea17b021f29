package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// bodies is an API that keeps what it is posted, without what differs between
// two watchers of one change.
type bodies struct {
	*httptest.Server
	mu  sync.Mutex
	all []string
}

func newBodies(t *testing.T) *bodies {
	t.Helper()
	b := &bodies{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		b.mu.Lock()
		b.all = append(b.all, string(body))
		b.mu.Unlock()
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *bodies) got() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(slices.Values(b.all))
}

// All functions in one chain on a real API server, inside kwatchman and as
// processes of their own: the same changes come out, in the same words.
func TestAllFunctionsInOneChainBuiltInAndAsProcesses(t *testing.T) {
	names := []string{"diff", "ignoreevents", "filter", "exec", "webhook", "log", "slack"}
	c := newCluster(t)
	settings := func(slack, api string) []string {
		return []string{
			"IGNOREEVENTS_EVENTS=Delete",
			"FILTER_RULES=small: action == \"Add\" || object.data.size() < 3\nnot secret: !name.startsWith(\"hidden\")",
			`EXEC_SHELL=if [ "$KWATCHMAN_ACTION" = Add ]; then echo "no Adds"; exit 78; fi; jq -r .data.diff.summary 2>/dev/null || cat >/dev/null; echo "said of $KWATCHMAN_NAME"`,
			"EXEC_TIMEOUT=60s",
			"WEBHOOK_URL=" + api + "/{{ .Name }}", "WEBHOOK_ALLOW_LOCAL=true",
			`WEBHOOK_BODY={"name": "{{ .Name }}", "summary": "{{ .Diff.Summary }}", "payload": "{{ .Payload }}"}`,
			"SLACK_WEBHOOK_URL=" + slack + secretPath,
		}
	}
	builtIn, apart := newBodies(t), newBodies(t)
	slackIn, slackApart := newSlack(t, 0), newSlack(t, 0)
	all := c.startAllInOne([]string{"-n", c.namespace}, append(settings(slackIn.URL, builtIn.URL),
		"KW_RESOURCES=cm", "KW_HANDLERS="+strings.Join(names, ","), "KW_TIMEOUT=60s")...)
	var urls []string
	var log *process
	for _, name := range names {
		url, p := startFunction(t, name, slices.DeleteFunc(settings(slackApart.URL, apart.URL), func(kv string) bool {
			return !strings.HasPrefix(kv, strings.ToUpper(name)+"_")
		})...)
		urls = append(urls, url)
		if name == "log" {
			log = p
		}
	}
	w := c.startWatcher("KW_RESOURCES=cm", "KW_HANDLERS="+strings.Join(urls, ","), "KW_TIMEOUT=60s")

	for i := range 4 {
		c.create(configMaps, configMap(fmt.Sprint("settings-", i), map[string]any{"level": "info"}))
	}
	c.create(configMaps, configMap("hidden", map[string]any{"level": "info"}))
	for i := range 4 {
		c.patch(configMaps, fmt.Sprint("settings-", i), `{"data":{"level":"debug"}}`)
	}
	c.patch(configMaps, "hidden", `{"data":{"level":"debug"}}`)
	c.patch(configMaps, "settings-0", `{"data":{"a":"1","b":"2"}}`) // not small any more
	c.patch(configMaps, "settings-1", `{"metadata":{"annotations":{"control-plane.alpha.kubernetes.io/leader":"x"}}}`)
	c.patch(configMaps, "settings-2", `{"data":{"level":"warn"}}`)
	c.delete(configMaps, "settings-3")

	for _, s := range []*slackStandIn{slackIn, slackApart} {
		eventually(t, func() bool { return len(s.got()) == 5 }, "five messages, got %d", len(s.got()))
	}
	require.Equal(t, 0, all.stop())
	require.Equal(t, 0, w.stop())
	require.Len(t, builtIn.got(), 5)
	require.Equal(t, builtIn.got(), apart.got())
	require.Equal(t, posted(t, slackIn), posted(t, slackApart))
	require.Equal(t, logged(t, all.stdout.String()), logged(t, log.stdout.String()))
	var first struct{ Name, Summary, Payload string }
	require.NoError(t, json.Unmarshal([]byte(builtIn.got()[0]), &first))
	require.Equal(t, "settings-0", first.Name)
	require.Equal(t, "level info → debug", first.Summary)
	require.Contains(t, first.Payload, "said of settings-0")
	for _, p := range []*process{all, w} {
		reasons := map[string]int{}
		for _, line := range strings.Split(p.stderr.String(), "\n") {
			var m struct{ Msg, Step, Reason string }
			if json.Unmarshal([]byte(line), &m) == nil && m.Msg == "chain stopped" {
				reasons[m.Reason]++
			}
		}
		require.Equal(t, map[string]int{
			"no Adds": 4, "rule not secret is false": 2, "rule small is false": 1, "action Delete is ignored": 1,
			"only leader election changed": 1,
		}, reasons)
	}
}
