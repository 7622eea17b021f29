package chain

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// nothingLeft waits until no goroutine of the chain or of its connections is
// left.
func nothingLeft(t *testing.T) {
	t.Helper()
	var left string
	require.Eventually(t, func() bool {
		buf := make([]byte, 1<<20)
		left = ""
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, "chain.(*") || strings.Contains(stack, "http.(*persistConn)") {
				left = stack
			}
		}
		return left == ""
	}, 20*time.Second, 5*time.Millisecond, "a goroutine is left")
}

// asleep waits until n lanes sleep.
func (r *running) asleep(n int) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		r.queue.mu.Lock()
		defer r.queue.mu.Unlock()
		found := 0
		for _, l := range r.queue.lanes {
			if l.timer != nil {
				found++
			}
		}
		return found == n
	}, 20*time.Second, time.Millisecond, "lanes asleep")
}

func TestCloseDeliversWhatIsQueued(t *testing.T) {
	release := make(chan struct{})
	delivered := make(chan string, 100)
	step := function(t, func(_ context.Context, e event.Event) (*event.Event, error) {
		<-release
		delivered <- e.ID
		return nil, nil //nolint:nilnil // the end of the chain
	})
	c := start(t, Config{Steps: steps(step), Concurrency: 2})
	for n := range 20 {
		c.push(change(fmt.Sprint("s", n%5), n/5+1))
	}
	c.Close()
	close(release)
	c.finish()
	require.Len(t, delivered, 20)
	require.Empty(t, c.log.with(t, notDelivered))
	nothingLeft(t)
}

func TestAStopGoesOnTryingWhileThereIsTime(t *testing.T) {
	var closing, attempts atomic.Int32
	step := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		if closing.Load() == 1 && attempts.Add(1) >= 3 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		http.Error(w, "not yet", http.StatusServiceUnavailable)
	})
	c := start(t, Config{Steps: steps(step), RetryWaitMin: time.Hour, RetryWaitMax: time.Hour})
	c.push(change("a", 1), change("a", 2))
	c.asleep(1)
	closing.Store(1)
	c.finish() // not in an hour
	require.Empty(t, c.log.with(t, notDelivered))
	require.EqualValues(t, 4, attempts.Load())
	nothingLeft(t)
}

func TestAStopKeepsThePauseThatAnEndpointAskedFor(t *testing.T) {
	var attempts atomic.Int32
	step := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		attempts.Add(1)
		w.Header().Set("Retry-After", "300")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	c := start(t, Config{Steps: steps(step)})
	c.push(change("a", 1))
	c.asleep(1)
	c.Close()
	c.asleep(1)
	c.cancel()
	require.Equal(t, 1, <-c.ended)
	require.EqualValues(t, 1, attempts.Load())
	require.Len(t, c.log.with(t, notDelivered), 1)
}

func TestAStopThatIsCutShortNamesAllThatIsNotDelivered(t *testing.T) {
	inFlight := make(chan struct{}, 1)
	step := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Ce-Id"), "asleep") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_ = received(t, r)
		inFlight <- struct{}{}
		<-r.Context().Done()
	})
	c := start(t, Config{Steps: steps(step), Concurrency: 1, RetryWaitMin: time.Hour, RetryWaitMax: time.Hour})
	c.push(change("asleep", 1), change("asleep", 2))
	c.asleep(1)
	c.push(change("flying", 1), change("flying", 2), change("queued", 1))
	<-inFlight
	c.cancel()
	require.Equal(t, 5, <-c.ended)
	lost := map[any]map[string]any{}
	for _, line := range c.log.with(t, notDelivered) {
		lost[line["id"]] = line
		require.Equal(t, "1 "+step, line["step"])
		require.Equal(t, "the stop came first", line["error"])
	}
	require.Len(t, lost, 5)
	require.EqualValues(t, 1, lost["asleep.1.update"]["attempts"])
	require.EqualValues(t, 0, lost["asleep.2.update"]["attempts"])
	require.EqualValues(t, 1, lost["flying.1.update"]["attempts"])
	require.EqualValues(t, 0, lost["queued.1.update"]["attempts"])
	for _, l := range c.queue.lanes {
		require.Nil(t, l.timer)
	}
	nothingLeft(t)
}

func TestAnEmptyChainStopsAtOnce(t *testing.T) {
	c := start(t, Config{Steps: steps("http://127.0.0.1:1")})
	c.finish()
	c = start(t, Config{Steps: steps("http://127.0.0.1:1")})
	c.cancel()
	require.Zero(t, <-c.ended)
	nothingLeft(t)
}

// What does not come back, though its time is long over, is told to who asks
// after the health.
func TestADeliveryThatHangsShows(t *testing.T) {
	release := make(chan struct{})
	r := prepare(t, Config{
		Steps: []Target{{Name: "go", Handler: event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) { return &e, nil })}}, Timeout: time.Second,
	})
	var recorded atomic.Int32
	r.SetRecord(func(context.Context, *event.Event) { recorded.Add(1); <-release })
	r.run()
	require.Empty(t, r.Stuck(time.Now().Add(time.Hour)), "it is idle")
	r.Push(change("web", 1))
	require.Eventually(t, func() bool { return recorded.Load() == 1 }, 10*time.Second, time.Millisecond)
	require.Empty(t, r.Stuck(time.Now().Add(30*time.Second)))
	require.Regexp(t, "^a delivery has been stuck for 1m3[0-9]s$", r.Stuck(time.Now().Add(95*time.Second)))
	close(release)
	require.Eventually(t, func() bool { return r.Stuck(time.Now().Add(time.Hour)) == "" }, 10*time.Second, time.Millisecond)
}
