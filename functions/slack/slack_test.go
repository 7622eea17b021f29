package slack

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What a webhook URL is made of, after Slack's pattern.
const (
	team, channel, token = "T0AAAAAAA", "B0BBBBBBB", "XXXXsecretXXXX"
	webhookPath          = "/services/" + team + "/" + channel + "/" + token
)

// secrets are the parts of a webhook URL that must not show anywhere.
func secrets(base string) []string {
	return []string{base + webhookPath, webhookPath, team, channel, token}
}

// standIn is Slack: it keeps what is posted to the webhook.
type standIn struct {
	url    string
	mu     sync.Mutex
	posted [][]byte
	// answer may refuse a message, or accept it with an answer of its own; nil
	// accepts them all.
	answer func(http.ResponseWriter, *http.Request) (accepted bool)
}

func newStandIn(t *testing.T, answer func(http.ResponseWriter, *http.Request) bool) *standIn {
	t.Helper()
	s := &standIn{answer: answer}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost || r.URL.Path != webhookPath || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil && !s.answer(w, r) {
		return
	}
	s.posted = append(s.posted, body)
	_, _ = io.WriteString(w, "ok")
}

func (s *standIn) messages() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posted
}

func newFunction(t *testing.T, cfg Config) event.Handler {
	t.Helper()
	h, err := New(cfg)
	require.NoError(t, err)
	return h
}

func TestKeepsTheProtocol(t *testing.T) {
	s := newStandIn(t, nil)
	h := newFunction(t, Config{WebhookURL: s.url + webhookPath})
	eventtest.Run(t, eventtest.Target{Handler: h, Continues: eventtest.Sample(event.Update), Secrets: secrets(s.url)})
	require.NotEmpty(t, s.messages())
}

// The same with a Slack that refuses everything and repeats what it was sent.
func TestKeepsItsSecretsWhenSlackRefuses(t *testing.T) {
	for _, status := range []int{302, 400, 403, 404, 410, 429, 500, 503} {
		s := newStandIn(t, func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Location", r.URL.String()+"/elsewhere")
			w.Header().Set("Retry-After", r.URL.String())
			http.Error(w, "no_service: "+r.URL.String(), status)
			return false
		})
		requireKept(t, s.url, newFunction(t, Config{WebhookURL: s.url + webhookPath}))
		require.Empty(t, s.messages())
	}
}

func deployment(edit func(*event.Event)) event.Event {
	e := eventtest.Sample(event.Update)
	e.Diff = &event.Diff{Summary: "image web:1.4.2 → web:1.5.0, replicas 2 → 3"}
	e.Payload = event.TextPayload("text/x-diff; charset=utf-8", "--- old\n+++ new\n@@ -9,3 +9,3 @@\n"+
		"   name: web\n-  image: web:1.4.2\n+  image: web:1.5.0\n")
	if edit != nil {
		edit(&e)
	}
	return e
}

func TestMessageIsExactlyAsExpected(t *testing.T) {
	add := eventtest.SampleOddName(event.Add)
	add.Payload = event.TextPayload("text/plain", "+kind: Role\n")
	for name, c := range map[string]struct {
		cluster string
		e       event.Event
	}{
		"update":                   {"", deployment(nil)},
		"add of an odd name":       {"", add},
		"delete without a payload": {"", eventtest.SampleClusterScoped(event.Delete)},
		"cluster name":             {"Production <EU>", deployment(nil)},
		"summary alone":            {"", deployment(func(e *event.Event) { e.Payload = nil })},
		"changed by two": {"", deployment(func(e *event.Event) {
			e.ChangedBy = []event.Manager{{Manager: "hpa", Subresource: "scale"}, {Manager: "<!here>"}}
		})},
		"JSON as payload": {"", deployment(func(e *event.Event) {
			e.Payload = &event.Payload{ContentType: "application/json", Data: json.RawMessage(`{"risk":"high","a":"<b>"}`)}
		})},
		// Whoever may write a manifest must not be able to write to the channel.
		"markup in the manifest": {"", deployment(func(e *event.Event) {
			e.Name, e.Kind = "<!everyone>", "<@U1>"
			e.Diff.Summary = "*<!channel>* & `more`\nline"
			e.Payload = event.TextPayload("text/x-diff", "+a: <!channel> &amp;\n+b: ```\n+<http://example.com|click> ``````` \x1b[31m\u202ered\r\n")
		})},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandIn(t, nil)
			h := newFunction(t, Config{WebhookURL: s.url + webhookPath + "\n", ClusterName: c.cluster})
			got, err := h(t.Context(), c.e)
			require.NoError(t, err)
			require.Equal(t, c.e, *got, "the event continues unchanged")
			require.Len(t, s.messages(), 1)
			requireGolden(t, name, s.messages()[0])
		})
	}
}

func requireGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "_")+".json")
	requireShowable(t, got)
	var message any
	require.NoError(t, json.Unmarshal(got, &message))
	var indented bytes.Buffer
	enc := json.NewEncoder(&indented)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	require.NoError(t, enc.Encode(message))
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, indented.Bytes(), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), indented.String())
}

// A chain tries again after the pause that Slack asks for; the channel gets the
// message once.
func TestRateLimitIsPassedOnAndTheMessageDeliveredOnce(t *testing.T) {
	attempts := 0
	s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request) bool {
		attempts++
		if attempts == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
		return attempts > 1
	})
	function := httptest.NewServer(newFunction(t, Config{WebhookURL: s.url + webhookPath}))
	t.Cleanup(function.Close)
	deliver := func() *http.Response {
		r, err := event.NewRequest(t.Context(), function.URL, new(deployment(nil)))
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp
	}
	resp := deliver()
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	require.Equal(t, "1", resp.Header.Get("Retry-After"))
	wait, err := time.ParseDuration(resp.Header.Get("Retry-After") + "s")
	require.NoError(t, err)
	time.Sleep(wait)
	require.Equal(t, http.StatusOK, deliver().StatusCode)
	require.Len(t, s.messages(), 1)
}

func TestWrongWebhookStopsTheStartWithoutBeingShown(t *testing.T) {
	const missing = "SLACK_WEBHOOK_URL is not set: create an incoming webhook at https://api.slack.com/messaging/webhooks, or set SLACK_TOKEN and SLACK_CHANNEL"
	const bad = "SLACK_WEBHOOK_URL: bad value: want an absolute http or https URL"
	for webhook, want := range map[string]string{
		"": missing, " \n": missing,
		webhookPath: bad, "hooks.slack.com" + webhookPath: bad, "ftp://hooks.slack.com" + webhookPath: bad,
		"https://" + webhookPath: bad, "https:" + webhookPath: bad, "https://:443" + webhookPath: bad,
		"https://hooks slack.com" + webhookPath: bad, "https://hooks.slack.com:x" + webhookPath: bad,
		"https://hooks.slack.com" + webhookPath + "\n\tand more": bad, "https://hooks.slack.com/%zz" + token: bad,
	} {
		_, err := New(Config{WebhookURL: webhook})
		require.EqualError(t, err, want)
	}
	newFunction(t, Config{WebhookURL: "https://hooks.slack.com" + webhookPath})
	newFunction(t, Config{WebhookURL: "http://127.0.0.1:9000/hook"})
}
