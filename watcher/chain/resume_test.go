package chain

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// station is a step that answers as status says and counts the requests.
type station struct {
	*httptest.Server
	requests atomic.Int32
	status   atomic.Int32
}

func newStation(t *testing.T, status int) *station {
	t.Helper()
	c := &station{}
	c.status.Store(int32(status))
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		if status := int(c.status.Load()); status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
		onward.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

// onward is the handler that continues with what came.
var onward = event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) { return &e, nil })

func targetsOf(all ...*station) (out []Target) {
	for _, c := range all {
		out = append(out, Target{URL: c.URL})
	}
	return out
}

// left is a chain that is left while an item waits for its second step.
func left(t *testing.T, cfg Config, first, second *station) (*running, *item) {
	t.Helper()
	cfg.Steps = targetsOf(first, second)
	before := start(t, cfg)
	waits := change("web", 1)
	before.push(waits)
	require.Eventually(t, func() bool { return second.requests.Load() > 1 }, 20*time.Second, time.Millisecond)
	before.Leave()
	require.Equal(t, 1, <-before.ended)
	require.Zero(t, waits.done.Load())
	require.NotContains(t, before.log.String(), "not delivered", "it is not lost")
	return before, waits
}

func TestAnotherChainGoesOnBetweenTwoSteps(t *testing.T) {
	first, second := newStation(t, http.StatusOK), newStation(t, http.StatusServiceUnavailable)
	before, waits := left(t, Config{}, first, second)
	second.status.Store(http.StatusNoContent)
	after := prepare(t, Config{Steps: targetsOf(first, second, newStation(t, http.StatusOK))})
	after.Resume(before.Chain)
	after.run()
	after.finish()
	require.EqualValues(t, 1, waits.done.Load())
	require.EqualValues(t, 1, first.requests.Load(), "the first step is not repeated")
}

func TestAnotherChainBeginsAnewWhereItsFirstStepsAreOthers(t *testing.T) {
	first, second := newStation(t, http.StatusOK), newStation(t, http.StatusServiceUnavailable)
	before, waits := left(t, Config{}, first, second)
	second.status.Store(http.StatusNoContent)
	other := newStation(t, http.StatusOK)
	after := prepare(t, Config{Steps: targetsOf(other, second)})
	after.Resume(before.Chain)
	after.run()
	after.finish()
	require.EqualValues(t, 1, waits.done.Load())
	require.EqualValues(t, 1, other.requests.Load(), "the new first step has it")
	require.Nil(t, waits.kept, "what was kept for the second step is gone")
}

func TestWhoMayNotSendAnyMoreSendsNothing(t *testing.T) {
	end := newStation(t, http.StatusNoContent)
	var holds atomic.Bool
	holds.Store(true)
	r := start(t, Config{Steps: targetsOf(end), Holds: holds.Load, Durable: true})
	r.push(change("web", 1))
	require.Eventually(t, func() bool { return end.requests.Load() == 1 && r.Waiting() == 0 }, 20*time.Second, time.Millisecond)
	holds.Store(false)
	late := change("web", 2)
	r.push(late)
	require.Equal(t, 1, <-r.ended, "the chain ends by itself")
	require.EqualValues(t, 1, end.requests.Load())
	require.Zero(t, late.done.Load())
}
