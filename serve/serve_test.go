package serve

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// start serves h on loopback; stop ends it and returns what Serve returned.
func start(t *testing.T, h http.Handler) (url string, stop func() error) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, h) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return "http://" + l.Addr().String(), stop
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	status, body, err := fetch(t.Context(), url)
	require.NoError(t, err)
	return status, body
}

// fetch is get for other goroutines than that of the test.
func fetch(ctx context.Context, url string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestHealthIsAnsweredBesideTheFunction(t *testing.T) {
	url, stop := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "function at "+r.URL.Path)
	}))
	for path, want := range map[string]string{
		"/healthz": "ok\n", "/readyz": "ok\n", "/": "function at /", "/any/path": "function at /any/path",
	} {
		status, body := get(t, url+path)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, want, body)
	}
	require.NoError(t, stop())
	_, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), time.Second)
	require.Error(t, err, "the port is free again")
}

func TestGracefulStopFinishesTheRequestInFlight(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	url, stop := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		if r.Context().Err() != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, "finished")
	}))
	answered := make(chan string, 1)
	go func() {
		status, body, err := fetch(t.Context(), url)
		answered <- fmt.Sprint(status, " ", body, " ", err)
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	require.Eventually(t, func() bool { // no new connection is taken
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}, 30*time.Second, 10*time.Millisecond)
	select {
	case err := <-stopped:
		require.Fail(t, "stopped with a request in flight", "%v", err)
	default:
	}
	close(leave)
	require.Equal(t, "200 finished <nil>", <-answered)
	require.NoError(t, <-stopped)
}

func TestRequestsOverTheLimitWaitTheirTurn(t *testing.T) {
	const limited, all = 3, 12
	var now, most, served atomic.Int32
	h := limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(5 * time.Millisecond)
		now.Add(-1)
		served.Add(1)
	}), limited)
	url, _ := start(t, h)
	var wg sync.WaitGroup
	for range all {
		wg.Go(func() {
			if _, _, err := fetch(t.Context(), url); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, all, served.Load())
	require.LessOrEqual(t, most.Load(), int32(limited))
}

func TestCallerWhoLeavesGivesItsPlaceUp(t *testing.T) {
	h := limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("no slot is free") }), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
}

func TestHugeHeaderIsRefused(t *testing.T) {
	url, _ := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	r.Header.Set("Ce-Myext", strings.Repeat("x", maxHeader+8<<10))
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
}

func TestListenerThatFailsIsAnError(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.ErrorContains(t, Serve(t.Context(), l, http.NotFoundHandler()), "serve: ")
}
