package chain

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestACheckConnectsAndSendsNothing(t *testing.T) {
	var requests atomic.Int32
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) })
	plain, secure := httptest.NewServer(h), httptest.NewTLSServer(h)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := "http://" + listener.Addr().String() + "/hunter2-hunter2"
	require.NoError(t, listener.Close())

	c := prepare(t, Config{Steps: []Target{
		{Name: "own", Handler: h}, {URL: plain.URL + "/hunter2-hunter2"}, {Name: "audit", URL: secure.URL}, {URL: closed},
	}})
	got := c.Check(t.Context())
	require.Len(t, got, 4)
	require.Equal(t, Checked{Name: "1 own", Where: "built in"}, got[0])
	require.Equal(t, Checked{Name: "2 " + plain.URL, Where: "remote"}, got[1])
	require.Equal(t, "3 audit "+secure.URL, got[2].Name)
	require.ErrorContains(t, got[2].Err, "certificate")
	require.ErrorContains(t, got[3].Err, "not reachable: ")
	require.NotContains(t, got[3].Name+got[3].Err.Error(), "hunter2")

	trusting := prepare(t, Config{Steps: steps(secure.URL), Sink: true, CACerts: pemOf(secure)})
	require.Equal(t, []Checked{{Name: "1 " + secure.URL, Where: "sink"}}, trusting.Check(t.Context()))
	require.Zero(t, requests.Load())
}
