package chain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// alone puts the first step of a chain into a synctest bubble, where time jumps
// on as soon as everybody waits: HTTP, over pipes.
func alone(t *testing.T, c *running, h http.HandlerFunc) {
	conns := make(chan net.Conn)
	server := httptest.NewUnstartedServer(h)
	server.Listener.Close()
	server.Listener = &pipes{conns: conns, close: sync.OnceFunc(func() { close(conns) })}
	server.Start()
	transport := c.steps[0].client.HTTPClient.Transport.(noRedirects)
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		near, far := net.Pipe()
		select {
		case conns <- far:
			return near, nil
		case <-ctx.Done():
			return nil, errors.New("nobody listens")
		}
	}
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
}

// pipes is a listener for what is dialled in memory.
type pipes struct {
	conns chan net.Conn
	close func()
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }
func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

// attempt is a request and when it came.
type attempt struct {
	name string
	at   time.Duration
}

func TestRetryAfterPausesTheStepForEverySubject(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		header func() string
		wait   time.Duration
	}{
		"seconds":        {429, func() string { return "7" }, 7 * time.Second},
		"date":           {503, func() string { return time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat) }, 90 * time.Second},
		"capped":         {503, func() string { return "86400" }, 5 * time.Minute},
		"capped date":    {429, func() string { return "Fri, 31 Dec 9999 23:59:59 GMT" }, 5 * time.Minute},
		"out of range":   {429, func() string { return strings.Repeat("9", 40) }, 5 * time.Minute},
		"zero":           {429, func() string { return "0" }, time.Second},
		"past":           {429, func() string { return "Mon, 01 Jan 1990 00:00:00 GMT" }, time.Second},
		"negative":       {429, func() string { return "-5" }, time.Second},
		"nonsense":       {503, func() string { return "soon" }, time.Second},
		"another status": {500, func() string { return "7" }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				c := prepare(t, Config{Steps: steps("http://step"), Concurrency: 1, RetryWaitMin: 2 * time.Second, RetryWaitMax: 2 * time.Second})
				var attempts []attempt
				alone(t, c, func(w http.ResponseWriter, r *http.Request) {
					attempts = append(attempts, attempt{r.Header.Get("Ce-Name"), time.Since(begin)})
					if len(attempts) == 1 {
						w.Header().Set("Retry-After", tc.header())
						w.WriteHeader(tc.status)
						return
					}
					w.WriteHeader(http.StatusNoContent)
				})
				c.run()
				c.push(change("a", 1))
				synctest.Wait()
				c.push(change("b", 1))
				time.Sleep(time.Hour)
				synctest.Wait()
				require.Len(t, attempts, 3)
				require.Equal(t, attempt{"a", 0}, attempts[0])
				if tc.wait == time.Second { // no pause: b goes at once, a after its backoff of one to two seconds
					require.Equal(t, attempt{"b", 0}, attempts[1])
					require.InDelta(t, 1.5, attempts[2].at.Seconds(), 0.5)
				} else {
					require.Equal(t, tc.wait, attempts[1].at)
					require.Equal(t, tc.wait, attempts[2].at)
				}
				c.finish()
			})
		})
	}
}

func TestAPauseCostsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := prepare(t, Config{Steps: steps("http://step"), RetryMax: 1})
		asked := 0
		alone(t, c, func(w http.ResponseWriter, _ *http.Request) {
			if asked++; asked < 20 {
				w.Header().Set("Retry-After", "1")
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		c.run()
		c.push(change("a", 1))
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, 21, asked, "19 pauses, then an attempt and one more")
		require.Zero(t, c.Waiting())
		c.finish()
	})
}

func TestTheWaitDoublesUpToItsMaximumWithJitter(t *testing.T) {
	c := prepare(t, Config{Steps: steps("http://step"), RetryWaitMin: 500 * time.Millisecond, RetryWaitMax: time.Minute})
	for failures, most := range map[int]time.Duration{
		1: 500 * time.Millisecond, 2: time.Second, 5: 8 * time.Second, 7: 32 * time.Second,
		8: time.Minute, 9: time.Minute, 1 << 40: time.Minute,
	} {
		different := map[time.Duration]bool{}
		for range 50 {
			wait := c.backoff(failures)
			require.GreaterOrEqual(t, wait, most/2)
			require.LessOrEqual(t, wait, most)
			different[wait] = true
		}
		require.Greater(t, len(different), 10, "jitter")
	}
}

// An endpoint that takes one event a second is not asked by everybody who waits
// once a second, and is not asked less often than it could take one.
func TestAfterAPauseFewFeelTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const objects = 60
		c := prepare(t, Config{Steps: steps("http://step"), Concurrency: 16})
		begin, last := time.Now(), time.Now().Add(-time.Hour)
		taken, refused := 0, 0
		var mu sync.Mutex
		alone(t, c, func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if time.Since(last) < time.Second {
				refused++
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			last = time.Now()
			taken++
			w.WriteHeader(http.StatusNoContent)
		})
		c.run()
		for i := range objects {
			c.push(change(fmt.Sprintf("o%d", i), 1))
		}
		for mu.Lock(); taken < objects; mu.Lock() {
			mu.Unlock()
			time.Sleep(time.Second)
			synctest.Wait()
		}
		mu.Unlock()
		require.Less(t, time.Since(begin), (objects+2)*time.Second, "as fast as it may be")
		require.LessOrEqual(t, refused, 2*objects+16, "one or two refusals for each that is taken")
		c.finish()
	})
}

// When the endpoint is back, so is the speed.
func TestAfterAPauseTheSpeedComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const objects = 200
		c := prepare(t, Config{Steps: steps("http://step"), Concurrency: 16})
		begin, asked := time.Now(), 0
		var mu sync.Mutex
		alone(t, c, func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			switch asked++; {
			case time.Since(begin) < 10*time.Second:
				w.Header().Set("Retry-After", "30")
				w.WriteHeader(http.StatusTooManyRequests)
			case asked%10 == 0:
				w.WriteHeader(http.StatusInternalServerError) // gives its attempt back
			default:
				w.WriteHeader(http.StatusNoContent)
			}
		})
		c.run()
		for i := range objects {
			c.push(change(fmt.Sprintf("o%d", i), 1))
		}
		c.finish()
		require.Less(t, time.Since(begin), 45*time.Second)
	})
}
