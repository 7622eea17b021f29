package serve

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/signature"
)

// said sends a text and gives all that comes back until the other side ends it.
func said(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	answer, _ := io.ReadAll(conn) // a reset is an end, too
	return string(answer)
}

func TestWhoIsSlowIsEnded(t *testing.T) {
	function := event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) {
		t.Error("what has not arrived is no event")
		return &e, nil
	})
	var keys signature.Keys
	require.NoError(t, keys.Decode("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
	const slowBody = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents+json\r\nContent-Length: 100\r\n\r\n{"
	for name, c := range map[string]struct {
		handler      http.Handler
		header, body time.Duration
		sent, want   string
	}{
		"headers":       {function, time.Millisecond, time.Hour, "POST / HTTP/1.1\r\nHost: x\r\nSlow", ""},
		"a body":        {function, time.Hour, time.Millisecond, slowBody, "HTTP/1.1 408 "},
		"a signed body": {signed(function, keys), time.Hour, time.Millisecond, slowBody, "HTTP/1.1 408 "},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(nil)
			server.Config = newServer(c.handler, c.header, c.body)
			server.Start()
			defer server.Close()
			require.True(t, strings.HasPrefix(said(t, server.Listener.Addr().String(), c.sent), c.want))
		})
	}
}

func TestTheServerHasItsLimits(t *testing.T) {
	s := newServer(nil, headerTimeout, bodyTimeout)
	for _, limit := range []time.Duration{s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout, time.Duration(s.MaxHeaderBytes)} {
		require.Positive(t, limit)
	}
}

func TestTooManyConnectionsAreRefused(t *testing.T) {
	cmd := helper(t, nil)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	logs := bufio.NewReader(stderr)
	line, err := logs.ReadBytes('\n')
	require.NoError(t, err)
	var listening struct{ Address string }
	require.NoError(t, json.Unmarshal(line, &listening))
	_, port, err := net.SplitHostPort(listening.Address)
	require.NoError(t, err)
	address := "127.0.0.1:" + port
	const request = "GET /readyz HTTP/1.1\r\nHost: x\r\n"
	first, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer func() { _ = first.Close() }()
	for range maxOpen - 1 {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
	}
	require.Empty(t, said(t, address, request+"\r\n"))
	line, err = logs.ReadBytes('\n')
	require.NoError(t, err)
	require.Contains(t, string(line), "too many connections are open")

	// Who was there before is answered.
	_, err = io.WriteString(first, request+"Connection: close\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(first)
	require.NoError(t, err)
	require.Contains(t, string(answer), "200 OK")
}

func TestARequestThatLeavesTheWaitingLineIsToBeRepeated(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
	}), 1))
	defer server.Close()
	defer close(leave)
	const request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	first, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = first.Close() }()
	_, err = io.WriteString(first, request)
	require.NoError(t, err)
	<-entered

	second, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = second.Close() }()
	_, err = io.WriteString(second, request)
	require.NoError(t, err)
	require.NoError(t, second.(*net.TCPConn).CloseWrite()) // as a proxy does whose client has gone
	answer, err := http.ReadResponse(bufio.NewReader(second), nil)
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode, "200 without a body would be a stop")
	require.True(t, event.Retryable(answer.StatusCode))
	require.Equal(t, "text/plain; charset=utf-8", answer.Header.Get("Content-Type"))
	require.Equal(t, 1, strings.Count(string(body), "\n"), "%s", body)
	require.LessOrEqual(t, len(body), 768)
}
