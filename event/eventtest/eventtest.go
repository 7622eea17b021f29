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
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/conform"
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

// Run checks that target keeps the handler protocol, in every point: what
// package conform calls advice is a failure here. While it runs a Handler,
// slog's default logger is its own, so it is not for parallel tests.
func Run(t *testing.T, target Target) {
	t.Helper()
	require.NotEqual(t, target.Handler == nil, target.URL == "", "Target needs either Handler or URL")
	var logged, seen LogBuffer
	if target.Handler != nil {
		captureLogs(t, &logged)
		server := httptest.NewServer(target.Handler)
		t.Cleanup(server.Close)
		target.URL = server.URL
	}
	results, err := conform.Run(t.Context(), conform.Options{
		URL: target.URL, Timeout: clientTimeout, Continues: &target.Continues, Stops: target.Stops, Seen: &seen,
	})
	require.NoError(t, err)
	for _, r := range results {
		t.Run(r.Name, func(t *testing.T) {
			require.Positive(t, r.Cases, "answers")
			for _, f := range r.Findings {
				t.Errorf("%s: %s", f.Case, f.Text)
			}
		})
	}
	t.Run("secrets kept", func(t *testing.T) { keepsSecrets(t, target, &logged, &seen) })
}

// clientTimeout is longer than conform's: tests share the machine.
const clientTimeout = time.Minute

// captureLogs sends slog's default logger, and with it package log, to w until
// the test ends.
func captureLogs(t *testing.T, w *LogBuffer) {
	t.Helper()
	logger, writer, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() {
		slog.SetDefault(logger)
		log.SetOutput(writer) // SetDefault has redirected it
		log.SetFlags(flags)
	})
}

func keepsSecrets(t *testing.T, target Target, logged, seen *LogBuffer) {
	logs := logged.String()
	if target.Logs != nil {
		logs += target.Logs()
	}
	for i, secret := range target.Secrets {
		require.NotEmpty(t, secret, "secret %d", i)
		for _, form := range []string{secret, url.PathEscape(secret), url.QueryEscape(secret)} {
			require.False(t, strings.Contains(logs, form), "secret %d is in the function's log", i)
			require.False(t, strings.Contains(seen.String(), form), "secret %d is in an answer", i)
		}
	}
}

// LogBuffer is a bytes.Buffer that many goroutines may write.
type LogBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *LogBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *LogBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
