package chain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// sequence checks that each subject's changes arrive one at a time, once and
// in order.
type sequence struct {
	mu   sync.Mutex
	last map[string]int
	busy map[string]bool
	left int
	all  chan struct{} // closed when nothing is left
}

func (s *sequence) enter(subject, id string) error {
	n, _ := strconv.Atoi(strings.Split(id, ".")[1])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[subject] {
		return fmt.Errorf("%s is delivered while another is", id)
	}
	if s.last[subject] != n-1 {
		return fmt.Errorf("%s came after %d", id, s.last[subject])
	}
	s.busy[subject] = true
	return nil
}

func (s *sequence) leave(subject string, delivered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[subject] = false
	if !delivered {
		return
	}
	s.last[subject]++
	if s.left--; s.left == 0 {
		close(s.all)
	}
}

func TestTenThousandChangesArriveOnceAndInOrder(t *testing.T) {
	const subjects, each = 1000, 10
	seen := &sequence{last: map[string]int{}, busy: map[string]bool{}, left: subjects * each, all: make(chan struct{})}
	var requests atomic.Int32
	step := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		subject := r.Header.Get("Ce-Subject")
		if err := seen.enter(subject, r.Header.Get("Ce-Id")); err != nil {
			t.Error(err)
		}
		failing := requests.Add(1)%20 == 0
		seen.leave(subject, !failing)
		if failing {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	c := start(t, Config{Steps: steps(step), Concurrency: 16})
	var sources sync.WaitGroup
	for s := range 4 {
		sources.Go(func() {
			for n := 1; n <= each; n++ {
				for _, name := range rand.Perm(subjects / 4) {
					c.Push(change(fmt.Sprintf("s%d-%d", s, name), n))
				}
			}
		})
	}
	sources.Wait()
	<-seen.all
	c.finish()
	require.Len(t, seen.last, subjects)
	for subject, n := range seen.last {
		require.Equal(t, each, n, subject)
	}
	require.Empty(t, c.log.with(t, notDelivered))
}

func TestASlowSubjectHoldsBackNoOther(t *testing.T) {
	slow, release := make(chan string, 1), make(chan struct{})
	delivered := make(chan string, 100)
	step := function(t, func(_ context.Context, e event.Event) (*event.Event, error) {
		if e.ID == "slow.1.update" {
			slow <- e.ID
			<-release
		}
		delivered <- e.ID
		return nil, nil //nolint:nilnil // the end of the chain
	})
	c := start(t, Config{Steps: steps(step), Concurrency: 2})
	c.push(change("slow", 1), change("slow", 2))
	<-slow
	for n := 1; n <= 50; n++ {
		c.push(change("quick", n))
	}
	for n := 1; n <= 50; n++ {
		require.Equal(t, fmt.Sprintf("quick.%d.update", n), <-delivered)
	}
	close(release)
	require.Equal(t, "slow.1.update", <-delivered)
	require.Equal(t, "slow.2.update", <-delivered)
	c.finish()
}

func TestSubjectsRunSideBySideUpToConcurrencyAndNoFurther(t *testing.T) {
	const limit = 3
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	var now, most atomic.Int32
	step := function(t, func(context.Context, event.Event) (*event.Event, error) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		arrived <- struct{}{}
		<-release
		return nil, nil //nolint:nilnil // the end of the chain
	})
	c := start(t, Config{Steps: steps(step), Concurrency: limit})
	for n := range 30 {
		c.push(change(fmt.Sprint("s", n), 1))
	}
	for range limit { // all at once, or this waits for ever
		<-arrived
	}
	close(release)
	c.finish()
	require.EqualValues(t, limit, most.Load())
}

func TestASubjectThatWaitsHoldsNoSlot(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"for its next attempt": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"for a pause to end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "200")
			w.WriteHeader(http.StatusTooManyRequests)
		},
	} {
		t.Run(name, func(t *testing.T) {
			delivered := make(chan string, 10)
			first := function(t, func(_ context.Context, e event.Event) (*event.Event, error) {
				if e.Name == "waiting" {
					return &e, nil
				}
				delivered <- e.ID
				return nil, nil //nolint:nilnil // the end of the chain
			})
			second := endpoint(t, answer)
			c := start(t, Config{Steps: steps(first, second), Concurrency: 1, RetryWaitMin: 1 << 40, RetryWaitMax: 1 << 40})
			c.push(change("waiting", 1), change("waiting", 2))
			c.asleep(1)
			c.push(change("other", 1), change("other", 2))
			require.Equal(t, "other.1.update", <-delivered)
			require.Equal(t, "other.2.update", <-delivered)
			require.Eventually(t, func() bool { return c.Waiting() == 2 }, 20*time.Second, time.Millisecond)
			c.cutOff()
			require.Len(t, c.log.with(t, notDelivered), 2)
		})
	}
}

func TestAnItemWithoutEventIsGivenUpAndDoesNotBlockItsLane(t *testing.T) {
	delivered := make(chan string, 10)
	step := function(t, func(_ context.Context, e event.Event) (*event.Event, error) {
		delivered <- e.ID
		return nil, nil //nolint:nilnil // the end of the chain
	})
	broken := change("web", 1)
	broken.err = errors.New("unpack shop/web: out of luck")
	unfit := change("web", 2)
	unfit.event.Extensions = map[string]string{"Not-A-Name": "1"}
	cut := change("web", 3)
	cut.event.Extensions = map[string]string{"team": "line\nbreak"}
	c := start(t, Config{Steps: steps(step)})
	c.push(broken, unfit, cut, change("web", 4))
	require.Equal(t, "web.4.update", <-delivered)
	c.finish()
	given := c.log.with(t, notDelivered)
	require.Len(t, given, 3)
	require.Equal(t, "web.1.update", given[0]["id"])
	require.Equal(t, "unpack shop/web: out of luck", given[0]["error"])
	require.Equal(t, "web.2.update", given[1]["id"])
	require.Equal(t, "ERROR", given[1]["level"])
	require.Equal(t, "event not sent: attribute team holds a control character", given[2]["error"])
}

func TestAChainNeedsSteps(t *testing.T) {
	_, err := New(Config{})
	require.EqualError(t, err, "the chain has no steps")
}
