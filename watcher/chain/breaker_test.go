package chain

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// admitted is how many attempts a breaker admits now; they stay under way.
func admitted(b *breaker) (n int, of generation) {
	for n < 100 {
		g, wait := b.admit()
		if wait > 0 {
			break
		}
		n, of = n+1, g
	}
	return n, of
}

func TestABreakerThatWasNeverOpenAdmitsAll(t *testing.T) {
	b := &breaker{}
	n, g := admitted(b)
	require.Equal(t, 100, n)
	b.settle(g, false)
	n, _ = admitted(b)
	require.Equal(t, 100, n)
}

// One 429 and the answers to the fifteen others that were in flight.
func TestWhatWasAdmittedBeforeAPauseGivesNothingBack(t *testing.T) {
	for name, before := range map[string]func(b *breaker) (answered int){
		"of a closed breaker": func(*breaker) int { return 0 },
		"of an earlier pause": func(b *breaker) int { b.pause(time.Second); return 1 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &breaker{}
				var all []generation
				for range 16 {
					g, wait := b.admit()
					require.Zero(t, wait)
					all = append(all, g)
				}
				answered := before(b)
				b.pause(10 * time.Second)
				for i, g := range all[answered+1:] {
					b.settle(g, i != 8)
					_, wait := b.admit()
					require.Equal(t, 10*time.Second, wait)
				}
				time.Sleep(10 * time.Second)
				n, _ := admitted(b)
				require.Equal(t, 1, n, "one feels the way")
			})
		})
	}
}

func TestAHalfOpenBreakerGivesAPermitMoreForEachSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &breaker{}
		b.pause(time.Minute)
		_, wait := b.admit()
		require.Equal(t, time.Minute, wait)
		time.Sleep(time.Minute)
		for _, want := range []int{1, 2, 4, 8, 16} {
			n, g := admitted(b)
			require.Equal(t, want, n)
			_, wait := b.admit()
			require.Equal(t, permitWait, wait)
			for range n {
				b.settle(g, true)
			}
		}
		n, g := admitted(b)
		require.Equal(t, 100, n, "it is closed")
		b.settle(g, true)
	})
}

func TestAFailureGivesItsPermitBackAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &breaker{}
		b.pause(time.Second)
		time.Sleep(time.Second)
		for range 50 {
			n, g := admitted(b)
			require.Equal(t, 1, n)
			b.settle(g, false)
		}
	})
}

func TestAnotherPauseBeginsWithOnePermitAgainAndShortensNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &breaker{}
		b.pause(time.Minute)
		time.Sleep(time.Minute)
		_, g := admitted(b)
		b.settle(g, true)
		_, g = admitted(b) // two of them: one is refused, the other succeeds
		b.pause(time.Minute)
		b.pause(time.Second)
		b.settle(g, true)
		_, wait := b.admit()
		require.Equal(t, time.Minute, wait)
		time.Sleep(time.Minute)
		n, _ := admitted(b)
		require.Equal(t, 1, n)
	})
}

// The same through a chain: sixteen are in flight, one is refused with Retry-After,
// the others succeed; after the pause one goes, not sixteen.
func TestAfterAPauseSuccessesFromBeforeItLetNobodyRush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const inFlight, took = 16, 100 * time.Millisecond
		c := prepare(t, Config{Steps: steps("http://step"), Concurrency: inFlight})
		var mu sync.Mutex
		asked, now, most := 0, 0, 0
		alone(t, c, func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			asked++
			n := asked
			if now++; n > inFlight {
				most = max(most, now)
			}
			mu.Unlock()
			wait := took
			if n > 1 && n <= inFlight { // after the refusal, while the pause is on
				wait *= 2
			}
			time.Sleep(wait)
			mu.Lock()
			now--
			mu.Unlock()
			if n == 1 {
				w.Header().Set("Retry-After", "10")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
		c.run()
		for i := range 3 * inFlight {
			c.push(change(fmt.Sprintf("o%d", i), 1))
		}
		time.Sleep(took + 10*time.Second + took/2)
		synctest.Wait()
		mu.Lock()
		wentAfter, atOnce := asked-inFlight, most
		mu.Unlock()
		c.finish()
		require.Equal(t, 1, wentAfter, "one feels the way")
		require.Equal(t, 1, atOnce)
	})
}
