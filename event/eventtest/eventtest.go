// Package eventtest is the conformance suite of the handler protocol: the tests
// that every function of a chain passes, whatever it does, and samples of the
// events that it gets.
package eventtest

import (
	"bytes"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// Target is the function under test.
type Target struct {
	// Handler is the function; Run serves it on loopback and reads what it logs
	// through slog's default logger. Either Handler or URL is set.
	Handler http.Handler
	// URL is a function that runs already, perhaps in a process of its own.
	URL string

	// Continues is an event that the function lets continue.
	Continues event.Event
	// Stops is an event at which the function stops the chain; nil for a
	// function that never does.
	Stops *event.Event

	// Secrets are values of the function's configuration that no answer and no
	// log line may hold.
	Secrets []string
	// Logs returns what the function has logged so far, where slog's default
	// logger does not tell: for URL, and for a function that writes elsewhere.
	Logs func() string
}

// Run checks that target keeps the handler protocol. While it runs a Handler,
// slog's default logger is its own, so it is not for parallel tests.
func Run(t *testing.T, target Target) {
	t.Helper()
	s := newSuite(t, target)
	for _, c := range []struct {
		promise string
		check   func(*testing.T, *suite)
	}{
		{"continues with the same context and the members it does not know", keepsContext},
		{"continues with an object of any scope and name", takesAnyObject},
		{"stops with an empty 204 and a reason", stopsWithReason},
		{"stops at once when continue is false", stopsOnContinueFalse},
		{"refuses an event that lacks an attribute", refusesMissingAttribute},
		{"refuses what is no event of the contract", refusesBadEvents},
		{"refuses any method but POST", refusesOtherMethods},
		{"refuses a body over the limit and no smaller one", refusesLargeBody},
		{"gives 32 clients at once an answer of their own", serves32Clients},
	} {
		t.Run(c.promise, func(t *testing.T) { c.check(t, s) })
	}
	t.Run("keeps its secrets", func(t *testing.T) { keepsSecrets(t, s) })
}

// suite is one run against one target.
type suite struct {
	Target
	url    string
	client *http.Client
	logged *buffer // of slog's default logger
	seen   *buffer // every answer as text: status, headers and body
}

func newSuite(t *testing.T, target Target) *suite {
	t.Helper()
	require.NotEqual(t, target.Handler == nil, target.URL == "", "Target needs either Handler or URL")
	s := &suite{Target: target, url: target.URL, logged: &buffer{}, seen: &buffer{}}
	if target.Handler != nil {
		captureLogs(t, s.logged)
		server := httptest.NewServer(target.Handler)
		t.Cleanup(server.Close)
		s.url = server.URL
	}
	s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: clientTimeout}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// captureLogs sends slog's default logger, and with it package log, to w until
// the test ends.
func captureLogs(t *testing.T, w *buffer) {
	t.Helper()
	logger, writer, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() {
		slog.SetDefault(logger)
		log.SetOutput(writer) // SetDefault has redirected it
		log.SetFlags(flags)
	})
}

func keepsSecrets(t *testing.T, s *suite) {
	logs := s.logged.String()
	if s.Logs != nil {
		logs += s.Logs()
	}
	for i, secret := range s.Secrets {
		require.NotEmpty(t, secret, "secret %d", i)
		for _, form := range []string{secret, url.PathEscape(secret), url.QueryEscape(secret)} {
			require.False(t, strings.Contains(logs, form), "secret %d is in the function's log", i)
			require.False(t, strings.Contains(s.seen.String(), form), "secret %d is in an answer", i)
		}
	}
}

// buffer is a bytes.Buffer that many goroutines may write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
