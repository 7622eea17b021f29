package slack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// requireKept posts an event to the function and checks that neither the answer
// nor a log line holds a part of the webhook's URL.
func requireKept(t *testing.T, base string, h event.Handler) *http.Response {
	t.Helper()
	var logs bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&logs, nil)))
	defer slog.SetDefault(before)
	function := httptest.NewServer(h)
	defer function.Close()
	r, err := event.NewRequest(t.Context(), function.URL, new(deployment(nil)))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	answer, err := httputil.DumpResponse(resp, true)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	function.Close() // all is logged now
	require.NotEmpty(t, logs.String())
	for _, secret := range secrets(base) {
		require.NotContains(t, string(answer), secret)
		require.NotContains(t, logs.String(), secret)
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	return resp
}

func TestAnswerOfSlackDecidesWhetherToTryAgain(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		retryAfter string
		want       int
		wantAfter  string
		text       string
	}{
		"rate limit":               {429, "30", 429, "30", "post to Slack: rate limited\n"},
		"rate limit, no wait":      {429, "", 429, "1", "post to Slack: rate limited\n"},
		"rate limit, wait is text": {429, "soon", 429, "1", "post to Slack: rate limited\n"},
		"rate limit, wait is date": {429, "Sun, 22 Nov 2026 10:00:00 GMT", 429, "1", "post to Slack: rate limited\n"},
		"rate limit, no time":      {429, "0", 429, "1", "post to Slack: rate limited\n"},
		"rate limit, negative":     {429, "-5", 429, "1", "post to Slack: rate limited\n"},
		"rate limit, too long":     {429, "86400", 429, "300", "post to Slack: rate limited\n"},
		"rate limit, overflow":     {429, "9223372036854775807", 429, "1", "post to Slack: rate limited\n"},
		"server error":             {500, "", 503, "", "post to Slack: answered 500 Internal Server Error\n"},
		"unavailable":              {503, "9", 503, "", "post to Slack: answered 503 Service Unavailable\n"},
		"gateway timeout":          {504, "", 503, "", "post to Slack: answered 504 Gateway Timeout\n"},
		"request timeout":          {408, "", 504, "", "post to Slack: answered 408 Request Timeout\n"},
		"bad request":              {400, "", 422, "", "post to Slack: answered 400 Bad Request\n"},
		"forbidden":                {403, "", 422, "", "post to Slack: answered 403 Forbidden\n"},
		"not found":                {404, "", 422, "", "post to Slack: answered 404 Not Found\n"},
		"gone":                     {410, "", 422, "", "post to Slack: answered 410 Gone\n"},
		"too large":                {413, "", 422, "", "post to Slack: answered 413 Request Entity Too Large\n"},
		"redirect":                 {302, "", 422, "", "post to Slack: answered 302 Found\n"},
		"redirect of a post":       {307, "", 422, "", "post to Slack: answered 307 Temporary Redirect\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandIn(t, func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Location", "http://"+r.Host+webhookPath)
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				http.Error(w, "no_service "+webhookPath, c.status)
				return false
			})
			got := requireKept(t, s.url, newFunction(t, Config{WebhookURL: s.url + webhookPath}))
			require.Equal(t, c.want, got.StatusCode)
			require.Equal(t, c.wantAfter, got.Header.Get("Retry-After"))
			require.Equal(t, c.want != event.StatusPermanent, event.Retryable(got.StatusCode))
			body, err := io.ReadAll(got.Body)
			require.NoError(t, err)
			require.True(t, strings.HasSuffix(string(body), "\r\n\r\n"+c.text), "%s", body)
			require.Empty(t, s.messages())
		})
	}
}

func TestAnyAcceptingStatusWillDo(t *testing.T) {
	for _, status := range []int{200, 201, 204} {
		s := newStandIn(t, func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			return true
		})
		_, err := newFunction(t, Config{WebhookURL: s.url + webhookPath})(t.Context(), deployment(nil))
		require.NoError(t, err)
	}
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return "http://" + l.Addr().String()
}

// raw answers every connection with bytes of its own.
func raw(t *testing.T, answer string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, answer)
		_ = c.Close()
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestTroubleOfTheNetworkIsRetriedAndKeepsTheSecret(t *testing.T) {
	discard := log.New(io.Discard, "", 0)
	insecure := httptest.NewUnstartedServer(http.NotFoundHandler())
	insecure.Config.ErrorLog = discard
	insecure.StartTLS()
	t.Cleanup(insecure.Close)
	plain := httptest.NewUnstartedServer(http.NotFoundHandler())
	plain.Config.ErrorLog = discard
	plain.Start()
	t.Cleanup(plain.Close)
	for name, c := range map[string]struct{ base, text string }{
		"closed port":         {closedPort(t), "connect: connection refused"},
		"no such host":        {"http://slack.invalid", "post to Slack: dial tcp: lookup slack.invalid"},
		"unknown certificate": {insecure.URL, "failed to verify certificate: x509: "},
		"no TLS":              {"https" + strings.TrimPrefix(plain.URL, "http"), "the server does not speak TLS"},
		"TLS unasked":         {"http" + strings.TrimPrefix(insecure.URL, "https"), ""},
		"closed":              {raw(t, ""), "the connection was closed"},
		"broken off":          {raw(t, "HTTP/1.1 200 OK\r\nContent-"), "no valid HTTP answer"},
		"an echo":             {raw(t, "POST "+webhookPath+" HTTP/1.1\r\n\r\n"), "no valid HTTP answer"},
		"an echo as status":   {raw(t, "HTTP/1.1 "+token+" a\r\n\r\n"), "no valid HTTP answer"},
		"an echo as Location": {raw(t, "HTTP/1.1 302 "+token+"\r\nLocation: http://%zz"+webhookPath+"\r\n\r\n"), "no valid HTTP answer"},
		"an echo as reason":   {raw(t, "HTTP/1.1 500 "+webhookPath+"\r\nContent-Length: 0\r\n\r\n"), "answered 500 Internal Server Error"},
		"endless headers":     {raw(t, "HTTP/1.1 200 OK\r\n"+strings.Repeat("X-A: "+token+"\r\n", 10000)+"\r\n"), "no valid HTTP answer"},
	} {
		t.Run(name, func(t *testing.T) {
			got := requireKept(t, c.base, newFunction(t, Config{WebhookURL: c.base + webhookPath}))
			body, err := io.ReadAll(got.Body)
			require.NoError(t, err)
			if name == "TLS unasked" { // Go's server answers 400 in plain text
				require.Equal(t, event.StatusPermanent, got.StatusCode)
				return
			}
			require.True(t, event.Retryable(got.StatusCode), got.StatusCode)
			require.GreaterOrEqual(t, got.StatusCode, 502)
			require.Contains(t, string(body), c.text)
		})
	}
}

func TestSlackThatDoesNotAnswerIsGivenUpInTime(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	impatient := &webhookPoster{url: server.URL + webhookPath, client: newClient(50 * time.Millisecond)}
	got := requireKept(t, server.URL, func(ctx context.Context, e event.Event) (*event.Event, error) {
		return nil, impatient.send(ctx, &e, new(layout).message(ctx, &e))
	})
	require.Equal(t, http.StatusGatewayTimeout, got.StatusCode)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := newFunction(t, Config{WebhookURL: server.URL + webhookPath})(ctx, deployment(nil))
	e, ok := errors.AsType[*event.Error](err)
	require.True(t, ok)
	require.Equal(t, http.StatusGatewayTimeout, e.Status)
	require.EqualError(t, err, "post to Slack: no answer in time")
}

func TestCallerWhoLeavesEndsThePost(t *testing.T) {
	s := newStandIn(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newFunction(t, Config{WebhookURL: s.url + webhookPath})(ctx, deployment(nil))
	require.EqualError(t, err, "post to Slack: context canceled")
	require.Empty(t, s.messages())
}

// Slack has accepted; that its answer never ends must not hold the event.
func TestEndlessAnswerIsNotReadToItsEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write(make([]byte, 4096))
		}
	}))
	t.Cleanup(server.Close)
	started := time.Now()
	_, err := newFunction(t, Config{WebhookURL: server.URL + webhookPath})(t.Context(), deployment(nil))
	require.NoError(t, err)
	require.Less(t, time.Since(started), postTimeout/2)
}

func TestRedirectIsNotFollowed(t *testing.T) {
	followed := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
	t.Cleanup(other.Close)
	s := newStandIn(t, func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL, http.StatusPermanentRedirect)
		return false
	})
	_, err := newFunction(t, Config{WebhookURL: s.url + webhookPath})(t.Context(), deployment(nil))
	require.EqualError(t, err, "post to Slack: answered 308 Permanent Redirect")
	require.False(t, followed)
}
