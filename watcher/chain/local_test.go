package chain

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// A chain cannot tell a handler of this process from an endpoint.
func TestAHandlerInThisProcessAnswersAsAnEndpointDoes(t *testing.T) {
	handlers := map[string]event.Handler{
		"continues": func(_ context.Context, e event.Event) (*event.Event, error) {
			e.Payload = event.TextPayload("text/plain", "seen")
			return &e, nil
		},
		"stops": func(context.Context, event.Event) (*event.Event, error) { return nil, event.Stop("enough\nfor now") },
		"fails": func(context.Context, event.Event) (*event.Event, error) { return nil, context.DeadlineExceeded },
		"for good": func(context.Context, event.Event) (*event.Event, error) {
			return nil, event.Permanent(context.Canceled)
		},
		"is busy": func(context.Context, event.Event) (*event.Event, error) { return nil, &event.Error{Status: 429} },
		"oversteps": func(_ context.Context, e event.Event) (*event.Event, error) {
			e.Name, e.Source = "x", "y"
			return &e, nil
		},
	}
	for name, h := range handlers {
		t.Run(name, func(t *testing.T) {
			outcome := func(first Target) (said []string, received []event.Event) {
				var mu sync.Mutex
				last := function(t, func(_ context.Context, e event.Event) (*event.Event, error) {
					mu.Lock()
					defer mu.Unlock()
					received = append(received, e)
					return &e, nil
				})
				c := start(t, Config{Steps: []Target{first, {URL: last}}, RetryMax: 2})
				c.push(change("web", 1))
				c.finish()
				for _, m := range []string{"chain stopped", notDelivered, "step still fails"} {
					for _, line := range c.log.with(t, m) {
						reason, _ := line["reason"].(string)
						text, _ := line["error"].(string)
						said = append(said, m+" "+reason+text)
					}
				}
				return said, received
			}
			wantSaid, wantReceived := outcome(Target{URL: function(t, h)})
			said, received := outcome(Target{Name: name, Handler: h})
			require.Equal(t, wantSaid, said)
			require.Equal(t, wantReceived, received)
		})
	}
}

func TestAPanicInThisProcessIsAFailedAttempt(t *testing.T) {
	var calls atomic.Int32
	c := start(t, Config{Steps: []Target{{Name: "shaky", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			panic("the manifest says hunter2")
		}
		w.WriteHeader(http.StatusNoContent)
	})}}})
	c.push(change("web", 1))
	c.finish()
	require.EqualValues(t, 2, calls.Load())
	require.Contains(t, c.log.String(), "the function panicked")
	require.Contains(t, c.log.String(), "local_test.go")
	require.NotContains(t, c.log.String(), "hunter2")
	require.Equal(t, "1 shaky", c.log.with(t, "function panicked")[0]["step"])
}

func TestAHandlerThatHangsHoldsNobodyUpAndIsBounded(t *testing.T) {
	release := make(chan struct{})
	var inWork, most atomic.Int32
	hangs := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n := inWork.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-release
		inWork.Add(-1)
		w.WriteHeader(http.StatusNoContent)
	})
	c := start(t, Config{Steps: []Target{{Name: "slow", Handler: hangs}}, Timeout: 10 * time.Millisecond, Concurrency: 2})
	for i := range 10 {
		c.push(change("web", i), change("api", i), change("job", i))
	}
	require.Eventually(t, func() bool {
		return strings.Contains(c.log.String(), "no answer in time")
	}, 30*time.Second, time.Millisecond)
	close(release)
	c.finish()
	require.LessOrEqual(t, most.Load(), int32(2))
}

func TestAnAnswerInThisProcessIsWhatAServerWouldSend(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Host", r.Host)
		w.WriteHeader(http.StatusTeapot)
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte("short and stout"))
	})
	l := newLocal("1 teapot", h, Config{Concurrency: 1})
	resp, err := l.RoundTrip(httptest.NewRequest(http.MethodPost, "http://built-in/", strings.NewReader("x")))
	require.NoError(t, err)
	require.Equal(t, http.StatusTeapot, resp.StatusCode)
	require.Equal(t, "text/plain; charset=utf-8", resp.Header.Get("Content-Type"))
	require.EqualValues(t, 15, resp.ContentLength)
	require.Equal(t, "built-in", resp.Header.Get("X-Host"))
	l.close()
}
