package side

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var quiet = slog.New(slog.DiscardHandler)

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

func TestWhoHoldsAllConnectionsKeepsNoProbeOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	stop := Serve(l, http.HandlerFunc(ok), quiet, func(err error) { t.Error(err) })
	for range maxConnections {
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nSlow")
		require.NoError(t, err)
	}
	for range 3 {
		resp, err := http.Get("http://" + l.Addr().String())
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 200, resp.StatusCode)
	}
	stop()
	_, err = net.Dial("tcp", l.Addr().String())
	require.Error(t, err)
}

func TestRequestsThatAreSlowOrLargeAreRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.Config = newServer(http.HandlerFunc(ok), time.Millisecond, quiet)
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nSlow")
	require.NoError(t, err)
	answer, _ := io.ReadAll(conn) // a reset is an end, too
	require.NotContains(t, string(answer), "200 OK")

	patient := httptest.NewUnstartedServer(nil)
	patient.Config = newServer(http.HandlerFunc(ok), timeout, quiet)
	patient.Start()
	defer patient.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, patient.URL, nil)
	require.NoError(t, err)
	r.Header.Set("X-Large", strings.Repeat("x", maxHeader+8<<10))
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
}
