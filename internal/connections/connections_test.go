package connections

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const most = 3

// serve answers on a bounded listener.
func serve(t *testing.T, bound func(net.Listener, int, *slog.Logger) net.Listener) (address string, said *text) {
	t.Helper()
	said = &text{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	server.Listener = bound(server.Listener, most, slog.New(slog.NewTextHandler(said, nil)))
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), said
}

// text is what was logged.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// client is one connection.
type client struct {
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, address string) client {
	t.Helper()
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return client{c, bufio.NewReader(c)}
}

// ask is a request; false: the connection has been closed.
func (c client) ask(t *testing.T) bool {
	t.Helper()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") // an error shows at the answer
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return false
	}
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "ok", string(body))
	return true
}

func full(t *testing.T, address string) (out []client) {
	t.Helper()
	for range most {
		c := dial(t, address)
		require.True(t, c.ask(t))
		out = append(out, c)
	}
	return out
}

func TestConnectionsOverTheLimitAreRefusedAndTheOthersGoOn(t *testing.T) {
	address, said := serve(t, Refuse)
	open := full(t, address)
	for range 2 {
		require.False(t, dial(t, address).ask(t))
	}
	for _, c := range open {
		require.True(t, c.ask(t))
	}
	require.Equal(t, 1, strings.Count(said.String(), "too many connections are open"))
	require.NoError(t, open[0].Close())
	require.Eventually(t, func() bool { return dial(t, address).ask(t) }, 30*time.Second, 10*time.Millisecond, "there is room again")
}

func TestTheOldestConnectionMakesRoom(t *testing.T) {
	address, _ := serve(t, Replace)
	open := full(t, address)
	next := dial(t, address)
	require.True(t, next.ask(t))
	require.False(t, open[0].ask(t))
	for _, c := range []client{open[1], open[2], next} {
		require.True(t, c.ask(t))
	}
}
