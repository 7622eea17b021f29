package client

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

// flood answers /flood with size bytes, and counts those that it could write.
type flood struct {
	*httptest.Server
	written atomic.Int64
}

const (
	floodSize = 16 << 20
	piece     = 16 << 10
)

func newFlood(t *testing.T) *flood {
	t.Helper()
	f := &flood{}
	mux := http.NewServeMux()
	mux.HandleFunc("/flood", func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("want HTTP/2, got %s", r.Proto)
		}
		for range floodSize / piece {
			if _, err := w.Write(make([]byte, piece)); err != nil {
				return
			}
			f.written.Add(piece)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) })
	f.Server = httptest.NewUnstartedServer(mux)
	f.EnableHTTP2 = true
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// stalled waits until the server cannot write any more, and gives how much it did.
func (f *flood) stalled(t *testing.T, atLeast int64) int64 {
	t.Helper()
	last, since := int64(-1), time.Now()
	require.Eventually(t, func() bool {
		if now := f.written.Load(); now != last {
			last, since = now, time.Now()
		}
		return last >= atLeast && time.Since(since) > time.Second
	}, time.Minute, 20*time.Millisecond)
	return last
}

// However the kubeconfig names its CA, and where it names none.
func TestAWatchThatIsNotReadIsHeldBackAtTheServer(t *testing.T) {
	ca := func(f *flood) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	}
	tests := map[string]func(*testing.T, *flood) rest.TLSClientConfig{
		"a CA": func(_ *testing.T, f *flood) rest.TLSClientConfig { return rest.TLSClientConfig{CAData: ca(f)} },
		"a CA in a file, as in a Pod": func(t *testing.T, f *flood) rest.TLSClientConfig {
			path := filepath.Join(t.TempDir(), "ca.crt")
			require.NoError(t, os.WriteFile(path, ca(f), 0o600))
			return rest.TLSClientConfig{CAFile: path}
		},
		"any certificate": func(*testing.T, *flood) rest.TLSClientConfig { return rest.TLSClientConfig{Insecure: true} },
	}
	for name, tlsConfig := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFlood(t)
			c, err := newClient(&rest.Config{Host: f.URL, TLSClientConfig: tlsConfig(t, f)}, "test")
			require.NoError(t, err)
			const watches = 4
			var bodies []io.ReadCloser
			for range watches {
				body, err := c.REST.Get().AbsPath("/flood").Stream(t.Context())
				require.NoError(t, err)
				bodies = append(bodies, body)
			}
			written := f.stalled(t, watches*streamBuffer/2)
			require.LessOrEqual(t, written, int64(watches*(streamBuffer+2*piece)), "bytes that the server could send to who does not read")
			_, err = c.REST.Get().AbsPath("/").Do(t.Context()).Raw()
			require.NoError(t, err, "the connection has room for others")
			n, err := io.Copy(io.Discard, bodies[0])
			require.NoError(t, err)
			require.EqualValues(t, floodSize, n, "who reads gets all of it")
			for _, body := range bodies {
				require.NoError(t, body.Close())
			}
		})
	}
}

func TestTheProcessesOtherConnectionsAreLeftAsTheyAre(t *testing.T) {
	_, err := newClient(&rest.Config{Host: "https://localhost:1"}, "test")
	require.NoError(t, err)
	require.Nil(t, http.DefaultTransport.(*http.Transport).HTTP2)
	cfg := &rest.Config{Host: "https://localhost:1", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	other, err := rest.TransportFor(cfg)
	require.NoError(t, err)
	_, err = newClient(cfg, "test")
	require.NoError(t, err)
	require.Nil(t, transportOf(other).HTTP2)
}
