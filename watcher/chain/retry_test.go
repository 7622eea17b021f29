package chain

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

func TestAStatusDecidesWhetherAnAttemptIsRepeated(t *testing.T) {
	for status, repeated := range map[int]bool{
		301: false, 302: false, 307: false, 308: false, 304: false,
		400: false, 401: false, 403: false, 405: false, 410: false, 413: false, 415: false, 422: false,
		404: true, 408: true, 409: true, 429: true, 500: true, 501: true, 502: true, 503: true, 504: true, 599: true,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			var elsewhere, asked atomic.Int32
			other := endpoint(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
			delivered := make(chan struct{})
			step := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) > 1 {
					w.WriteHeader(http.StatusNoContent)
					close(delivered)
					return
				}
				w.Header().Set("Location", other+r.URL.Path)
				w.WriteHeader(status)
			})
			c := start(t, Config{Steps: steps(step)})
			c.push(change("web", 1))
			if repeated {
				<-delivered
			}
			c.finish()
			require.Zero(t, elsewhere.Load(), "no redirect is followed")
			if repeated {
				require.EqualValues(t, 2, asked.Load())
				require.Empty(t, c.log.with(t, notDelivered))
				return
			}
			require.EqualValues(t, 1, asked.Load())
			require.Len(t, c.log.with(t, notDelivered), 1)
		})
	}
}

func TestARedirectToNowhereIsPermanentToo(t *testing.T) {
	for _, location := range []string{"", "http://[bad", "://", "/same"} {
		step := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
		})
		c := start(t, Config{Steps: steps(step)})
		c.push(change("web", 1))
		c.finish()
		require.Equal(t, "answered 302, and redirects are not followed", c.log.with(t, notDelivered)[0]["error"], location)
	}
}

func TestNoAnswerIsRepeated(t *testing.T) {
	hangUp := func(r *http.Request, w http.ResponseWriter, reset bool) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if reset {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}
		_ = conn.Close()
	}
	for name, first := range map[string]http.HandlerFunc{
		"connection closed": func(w http.ResponseWriter, r *http.Request) { hangUp(r, w, false) },
		"connection reset":  func(w http.ResponseWriter, r *http.Request) { hangUp(r, w, true) },
		"timeout":           func(_ http.ResponseWriter, r *http.Request) { received(t, r); <-r.Context().Done() },
		"reply breaks off": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			delivered := make(chan struct{})
			step := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					first(w, r)
					return
				}
				w.WriteHeader(http.StatusNoContent)
				close(delivered)
			})
			timeout := 20 * time.Second
			if name == "timeout" {
				timeout = 500 * time.Millisecond
			}
			c := start(t, Config{Steps: steps(step), Timeout: timeout})
			c.push(change("web", 1))
			<-delivered
			c.finish()
			require.Len(t, c.log.with(t, "step fails, trying again"), 1)
		})
	}
}

func TestAClosedPortIsRepeatedUntilItOpens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	c := start(t, Config{Steps: steps("http://" + address)})
	c.push(change("web", 1))
	require.Eventually(t, func() bool { return len(c.log.with(t, "step still fails")) > 3 }, 20*time.Second, time.Millisecond)
	listener, err = net.Listen("tcp", address)
	require.NoError(t, err)
	delivered := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		close(delivered)
	})}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	<-delivered
	c.finish()
	require.Contains(t, c.log.with(t, "step fails, trying again")[0]["error"], "not reachable: ")
	require.Len(t, c.log.with(t, "step recovered"), 1)
}

func TestRetryMaxGivesUpWithOneErrorLine(t *testing.T) {
	var asked atomic.Int32
	first := function(t, forward)
	second := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.Error(w, "out of order", http.StatusInternalServerError)
	})
	c := start(t, Config{Steps: steps(first, second), RetryMax: 2})
	c.push(change("web", 1))
	require.Eventually(t, func() bool { return c.Waiting() == 0 }, 20*time.Second, time.Millisecond)
	c.finish()
	require.EqualValues(t, 3, asked.Load(), "one attempt and two more")
	given := c.log.with(t, notDelivered)
	require.Len(t, given, 1)
	delete(given[0], "time")
	require.Equal(t, map[string]any{
		"level": "ERROR", "msg": notDelivered, "id": "web.1.update", "subject": change("web", 1).event.Subject,
		"step": "2 " + second, "attempts": 3.0, "error": "answered 500: out of order",
	}, given[0])
}

func TestOnlyTheStepThatFailedIsRepeatedWithTheSameInput(t *testing.T) {
	sent := change("web", 1)
	sent.event.Name = "line\nbreak 100% größe"
	sent.event.Extensions = map[string]string{
		"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b,c=d", "myext": "1 & ü",
	}
	sent.event.Extra = map[string]json.RawMessage{"ticket": json.RawMessage(`{"id":12345678901234567890,"f":1.50}`)}
	var asked [3]atomic.Int32
	var inputs []event.Event
	first := function(t, func(_ context.Context, e event.Event) (*event.Event, error) {
		asked[0].Add(1)
		e.Diff = &event.Diff{Summary: "image <b>", Changes: []event.FieldChange{{Op: "replace", Path: "/a", From: json.Number("1.50"), To: true}}}
		e.Payload = event.TextPayload("text/plain", "-a\n+<b> & \u2028 ü\n")
		e.Extra["more"] = json.RawMessage(`[null]`)
		return &e, nil
	})
	delivered := make(chan struct{})
	second := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		e := received(t, r)
		inputs = append(inputs, e)
		if asked[1].Add(1) < 4 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
		close(delivered)
	})
	c := start(t, Config{Steps: steps(first, second, second), Extensions: map[string]string{"team": "shop"}})
	c.push(sent)
	<-delivered
	c.finish()
	require.EqualValues(t, 1, asked[0].Load())
	require.Len(t, inputs, 4)
	want := sent.event
	want.Continue = new(true)
	want.Extensions["team"] = "shop"
	want.Diff, want.Payload = inputs[0].Diff, inputs[0].Payload
	want.Extra["more"] = json.RawMessage(`[null]`)
	require.Equal(t, "image <b>", want.Diff.Summary)
	require.Equal(t, "-a\n+<b> & \u2028 ü\n", want.Payload.Text())
	for _, in := range inputs {
		require.Equal(t, want, in)
	}
}
