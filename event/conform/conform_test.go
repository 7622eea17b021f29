package conform_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/conform"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // the handlers log each of some hundred refusals
	os.Exit(m.Run())
}

// pass continues with what comes, and stops at Deletes.
var pass = event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) {
	if e.Action == event.Delete {
		return nil, event.Stop("deletes are of no interest")
	}
	return &e, nil
})

// answer is a handler that answers valid events in its own way, and refuses as
// the contract wants.
func answer(valid http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := httptest.NewRecorder()
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		pass.ServeHTTP(got, r)
		if got.Code == http.StatusOK {
			r.Body = io.NopCloser(bytes.NewReader(body))
			valid(w, r)
			return
		}
		for name, values := range got.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(got.Code)
		_, _ = w.Write(got.Body.Bytes())
	})
}

// edited is pass with its answers edited.
func edited(edit func(got *httptest.ResponseRecorder)) http.Handler {
	return answer(func(w http.ResponseWriter, r *http.Request) {
		got := httptest.NewRecorder()
		pass.ServeHTTP(got, r)
		edit(got)
		for name, values := range got.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(got.Code)
		_, _ = w.Write(got.Body.Bytes())
	})
}

func run(t *testing.T, h http.Handler) map[string]conform.Result {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	results, err := conform.Run(t.Context(), conform.Options{URL: server.URL, Timeout: 2 * time.Second})
	require.NoError(t, err)
	out := map[string]conform.Result{}
	for _, r := range results {
		out[r.Name] = r
	}
	return out
}

func TestAHandlerThatKeepsTheContractPasses(t *testing.T) {
	for name, r := range run(t, pass) {
		require.Empty(t, r.Findings, name)
		require.Positive(t, r.Cases, name)
	}
}

func TestWhatTheContractForbidsIsABreach(t *testing.T) {
	plain := func(w http.ResponseWriter, status int, contentType, body string) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
	for name, c := range map[string]struct {
		handler http.Handler
		promise string
		level   conform.Level
		text    string
	}{
		"an attribute is gone": {
			edited(func(got *httptest.ResponseRecorder) { got.Header().Del("Ce-Via") }),
			"continue", conform.Breach, "missing attribute: via",
		},
		"an extension is gone": {
			edited(func(got *httptest.ResponseRecorder) { got.Header().Del("Ce-Myext") }),
			"attributes kept", conform.Breach, `myext is gone: want "kept as it is"`,
		},
		"the flag is missing": {
			edited(func(got *httptest.ResponseRecorder) { got.Header().Del("Ce-Continue") }),
			"attributes kept", conform.Breach, "continue is gone",
		},
		"the id is another": {
			edited(func(got *httptest.ResponseRecorder) { got.Header().Set("Ce-Id", "another") }),
			"attributes kept", conform.Breach, "id was changed",
		},
		"a number loses digits": {edited(func(got *httptest.ResponseRecorder) {
			got.Body = bytes.NewBuffer(bytes.ReplaceAll(got.Body.Bytes(), []byte("12345678901234567890"), []byte("12345678901234567000")))
		}), "data kept", conform.Advice, "member ticket of data was changed"},
		"a proxy's page": {
			answer(func(w http.ResponseWriter, _ *http.Request) { plain(w, 200, "text/html", "<html>It works!</html>") }),
			"continue", conform.Breach, `answered 200 with neither a CloudEvent nor JSON with "continue" (Content-Type "text/html"): "<html>It works!</html>"`,
		},
		"JSON without continue": {
			answer(func(w http.ResponseWriter, _ *http.Request) { plain(w, 200, "application/json", "{}") }),
			"continue", conform.Breach, "neither",
		},
		"an error": {
			answer(func(w http.ResponseWriter, _ *http.Request) { plain(w, 500, "text/plain", "no\nidea") }),
			"continue", conform.Breach, `answered 500 to a valid event: "no idea"`,
		},
		"a redirect": {
			answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }),
			"continue", conform.Breach, "answered 302",
		},
		"an empty 200 with an event's headers": {
			answer(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Ce-Id", "1") }),
			"stop", conform.Breach, "Ce-Id: a stop has no ce- header",
		},
		"a stop without a reason": {
			answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }),
			"stop", conform.Advice, "no header Kwatchman-Reason",
		},
		"no stop at continue=false": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Ce-Continue") == "false" {
				r.Header.Set("Ce-Continue", "true")
			}
			pass.ServeHTTP(w, r)
		}), "stop", conform.Breach, "continues: want 204 at once"},
		"plain JSON": {
			answer(func(w http.ResponseWriter, _ *http.Request) {
				plain(w, 200, "application/json", `{"continue":true,"payload":"x"}`)
			}),
			"continue", conform.Advice, "works in direct mode only",
		},
		"everything is welcome": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			plain(w, 200, "application/json", `{"continue":true}`)
		}), "errors", conform.Breach, "answered 200: want 400"},
		"no limit": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n, _ := io.Copy(io.Discard, r.Body); n > 8<<20 {
				plain(w, 200, "application/json", `{"continue":true}`)
			}
		}), "sizes", conform.Breach, "answered 200: want 413"},
		"an error that is tried again": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got := httptest.NewRecorder()
			pass.ServeHTTP(got, r)
			plain(w, http.StatusServiceUnavailable, "text/plain", "no")
		}), "errors", conform.Breach, "answered 503, which is tried again: want 400"},
		"a long error": {
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { plain(w, 400, "text/plain", strings.Repeat("x", 800)) }),
			"errors", conform.Breach, "an error body of 800 bytes",
		},
		"an answer to somebody else": {mixer(), "concurrency", conform.Breach, "member serial of data"},
		"an endless answer": {answer(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			for range 400 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}), "continue", conform.Breach, "the answer is larger than 8388608 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			r, ok := run(t, c.handler)[c.promise]
			require.True(t, ok, c.promise)
			require.Equal(t, c.level, r.Level(), "%v", r.Findings)
			require.Contains(t, texts(r), c.text)
		})
	}
}

func texts(r conform.Result) string {
	var all []string
	for _, f := range r.Findings {
		all = append(all, f.Text)
	}
	return strings.Join(all, "\n")
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

func TestAnEndpointThatHangsIsABreachAndNoWait(t *testing.T) {
	first := true
	quit := make(chan struct{})
	hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first { // who does not answer at all is not checked
			first = false
			pass.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		<-quit
	})
	server := httptest.NewServer(hang)
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(quit) })
	results, err := conform.Run(t.Context(), conform.Options{URL: server.URL, Timeout: 20 * time.Millisecond})
	require.NoError(t, err)
	require.Equal(t, conform.Breach, conform.Worst(results))
	require.Contains(t, texts(results[0]), "no answer in time")
}

func TestNobodyThereIsOneLineWithoutTheURL(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = conform.Run(t.Context(), conform.Options{URL: "http://" + l.Addr().String() + "/secret-path"})
	require.ErrorContains(t, err, "not reachable: ")
	require.NotContains(t, err.Error(), "secret-path")
	_, err = conform.Run(t.Context(), conform.Options{URL: "http://[::1/secret-path"})
	require.EqualError(t, err, "is no URL: want http://host:port/path or https://host/path")
}

func TestKnownEventsHaveToContinueAndStop(t *testing.T) {
	server := httptest.NewServer(pass)
	t.Cleanup(server.Close)
	results, err := conform.Run(t.Context(), conform.Options{
		URL: server.URL, Continues: new(conform.Sample(event.Delete)), Stops: new(conform.Sample(event.Add)),
		Events: []event.Event{conform.SampleOddName(event.Update)},
	})
	require.NoError(t, err)
	byName := map[string]conform.Result{}
	for _, r := range results {
		byName[r.Name] = r
	}
	require.Contains(t, texts(byName["continue"]), "stops, and should continue")
	require.Contains(t, texts(byName["stop"]), "continues, and should stop")
}

func TestTheTableShowsTheWorstFirst(t *testing.T) {
	var many []conform.Finding
	for i := range 16 {
		many = append(many, conform.Finding{Level: conform.Advice, Case: fmt.Sprint("case ", i), Text: fmt.Sprint("might be better ", i%8)})
	}
	var b strings.Builder
	require.NoError(t, conform.Print(&b, []conform.Result{
		{Name: "continue", Cases: 3},
		{Name: "data kept", Cases: 8, Findings: many, Note: "a note"},
		{Name: "stop", Cases: 1, Findings: []conform.Finding{{Level: conform.Breach, Case: "continue=false", Text: "continues"}}},
		{Name: "errors"},
	}))
	require.Equal(t, `PROMISE    RESULT    ANSWERS  NOTE
continue   ok        3        
data kept  advice    8        a note
stop       BREACH    1        
errors     not seen  0        

BREACH: stop
  continue=false: continues

advice: data kept
  case 0: might be better 0 (and 1 more)
  case 1: might be better 1 (and 1 more)
  case 2: might be better 2 (and 1 more)
  case 3: might be better 3 (and 1 more)
  case 4: might be better 4 (and 1 more)
  and 3 of other kinds
`, b.String())
}

func TestSamplesAreValidEvents(t *testing.T) {
	for _, action := range []event.Action{event.Add, event.Update, event.Delete} {
		for _, sample := range []func(event.Action) event.Event{conform.Sample, conform.SampleClusterScoped, conform.SampleOddName} {
			e := sample(action)
			require.NoError(t, e.Validate())
			for _, manifest := range []json.RawMessage{e.Object, e.OldObject} {
				require.True(t, manifest == nil || json.Valid(manifest), "%s", manifest)
			}
		}
	}
}
