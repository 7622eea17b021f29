package eventtest_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

const secret = "T012/B345/s3cr3t"

// filter is a function as simple as one can be: it stops deletes.
var filter = event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) {
	if e.Action == event.Delete {
		return nil, event.Stop("deletes are of no interest")
	}
	return &e, nil
})

func target(h http.Handler) eventtest.Target {
	return eventtest.Target{
		Handler: h, Continues: eventtest.Sample(event.Update),
		Stops: new(eventtest.Sample(event.Delete)), Secrets: []string{secret},
	}
}

func TestHandlerKeepsTheProtocol(t *testing.T) {
	eventtest.Run(t, target(filter))
}

func TestFunctionAtAURLKeepsTheProtocol(t *testing.T) {
	server := httptest.NewServer(filter)
	t.Cleanup(server.Close)
	logs := captureLogs(t)
	run := target(nil)
	run.URL, run.Logs = server.URL, logs
	eventtest.Run(t, run)
}

// captureLogs keeps what is logged, as the logs of another process would be.
func captureLogs(t *testing.T) func() string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(file, nil)))
	t.Cleanup(func() {
		slog.SetDefault(before)
		require.NoError(t, file.Close())
	})
	return func() string {
		logs, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		return string(logs)
	}
}

func TestRunRestoresTheLogger(t *testing.T) {
	before := slog.Default()
	t.Run("run", func(t *testing.T) { eventtest.Run(t, target(filter)) })
	require.Same(t, before, slog.Default())
}

// around is filter with every answer in the hands of spoil.
func around(spoil func(w http.ResponseWriter, r *http.Request, got *httptest.ResponseRecorder)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := httptest.NewRecorder()
		filter.ServeHTTP(got, r)
		spoil(w, r, got)
		for name, values := range got.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(got.Code)
		if got.Code != http.StatusNoContent {
			_, _ = w.Write(got.Body.Bytes())
		}
	})
}

// broken are functions with one fault each, and the promise that shows it.
var broken = map[string]struct {
	handler http.Handler
	promise string
}{
	"drops an extension": {around(func(_ http.ResponseWriter, _ *http.Request, got *httptest.ResponseRecorder) {
		got.Header().Del("Ce-Myext")
	}), "attributes_kept"},
	"changes the id": {around(func(_ http.ResponseWriter, _ *http.Request, got *httptest.ResponseRecorder) {
		if got.Code == http.StatusOK {
			got.Header().Set("Ce-Id", "another")
		}
	}), "attributes_kept"},
	"forgets what it does not know": {event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) {
		e.Extra = nil
		return &e, nil
	}), "data_kept"},
	"stops without a reason": {around(func(_ http.ResponseWriter, _ *http.Request, got *httptest.ResponseRecorder) {
		got.Header().Del(event.ReasonHeader)
	}), "stop"},
	"goes on where it should stop": {event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) {
		return &e, nil
	}), "stop"},
	"takes what is no event": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") == "text/plain" {
			return
		}
		filter.ServeHTTP(w, r)
	}), "errors"},
	"repeats a bad value at length": {around(func(_ http.ResponseWriter, r *http.Request, got *httptest.ResponseRecorder) {
		if got.Code == http.StatusBadRequest {
			_, _ = io.WriteString(got.Body, r.Header.Get("Ce-Type"))
		}
	}), "errors"},
	"takes any method": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Method = http.MethodPost
		filter.ServeHTTP(w, r)
	}), "errors"},
	"mixes its clients up": {mixer(), "concurrency"},
	"shows its secret": {around(func(_ http.ResponseWriter, _ *http.Request, got *httptest.ResponseRecorder) {
		got.Header().Set("X-Debug", secret)
	}), "secrets_kept"},
	"logs its secret": {event.Handler(func(context.Context, event.Event) (*event.Event, error) {
		return nil, errors.New("post to " + secret)
	}), "secrets_kept"},
}

// mixer answers a client with what an earlier one sent.
func mixer() http.Handler {
	var last event.Event
	slot := make(chan struct{}, 1)
	return event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) {
		slot <- struct{}{}
		defer func() { <-slot }()
		e.Extra, last.Extra = last.Extra, e.Extra
		return &e, nil
	})
}

const brokenEnv = "EVENTTEST_BROKEN"

// The suite must fail for a function that breaks the protocol. Each of the
// broken ones is run by this test binary, started once more.
func TestSuiteFindsABrokenFunction(t *testing.T) {
	if name := os.Getenv(brokenEnv); name != "" {
		eventtest.Run(t, target(broken[name].handler))
		return
	}
	for name, b := range broken {
		t.Run(name, func(t *testing.T) {
			// The check of the secrets looks at the answers that others got.
			const self = "^TestSuiteFindsABrokenFunction$/(attributes_kept|secrets_kept|"
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+self+b.promise+")")
			cmd.Env = append(os.Environ(), brokenEnv+"="+name)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "%s", out)
			require.Contains(t, string(out), "--- FAIL: TestSuiteFindsABrokenFunction/"+b.promise)
		})
	}
}
