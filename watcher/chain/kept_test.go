package chain

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// deliverAgain delivers an item with another chain.
func deliverAgain(t *testing.T, i *item, cfg Config) *running {
	t.Helper()
	c := start(t, cfg)
	c.push(i)
	c.finish()
	require.EqualValues(t, 1, i.done.Load())
	return c
}

func TestAnotherChainGoesOnBetweenTwoSteps(t *testing.T) {
	first, second := newStation(t, http.StatusOK), newStation(t, http.StatusServiceUnavailable)
	_, waits := left(t, Config{}, first, second)
	second.status.Store(http.StatusNoContent)
	deliverAgain(t, waits, Config{Steps: targetsOf(first, second, newStation(t, http.StatusOK))})
	require.EqualValues(t, 1, first.requests.Load(), "the first step is not repeated")
}

func TestAnotherChainBeginsAnewWhereItsFirstStepsAreOthers(t *testing.T) {
	first, second := newStation(t, http.StatusOK), newStation(t, http.StatusServiceUnavailable)
	other := newStation(t, http.StatusOK)
	for name, steps := range map[string][]Target{
		"another first step":          targetsOf(other, second),
		"one more in front":           targetsOf(other, first, second),
		"no step is left behind it":   targetsOf(other),
		"the same host, another path": {{URL: other.URL + "/x"}, {URL: second.URL}},
	} {
		t.Run(name, func(t *testing.T) {
			second.status.Store(http.StatusServiceUnavailable)
			other.requests.Store(0)
			_, waits := left(t, Config{}, first, second)
			second.status.Store(http.StatusNoContent)
			deliverAgain(t, waits, Config{Steps: steps})
			require.EqualValues(t, 1, other.requests.Load(), "the new first step has it")
			require.Nil(t, waits.keeping().input, "what was kept for the second step is gone")
		})
	}
}

func TestAFingerprintIsOfTheStepsInFrontAndHidesTheirURLs(t *testing.T) {
	of := func(targets ...Target) []string {
		return prepare(t, Config{Steps: targets}).before
	}
	a, b := Target{URL: "http://a/secret"}, Target{URL: "http://b/secret"}
	diff, log := Target{Name: "diff", Handler: onward}, Target{Name: "log", Handler: onward}
	require.Equal(t, of(a, b, diff)[2], of(a, b, log)[2], "of those in front of it, not of itself")
	require.Equal(t, of(a, b)[1], of(Target{Name: "x", URL: a.URL}, b)[1], "a name in logs is none of it")
	all := map[string]bool{}
	for _, f := range []string{
		of(a, log)[1], of(b, log)[1], of(diff, log)[1], of(log, log)[1], of(a, b, log)[2], of(b, a, log)[2], of(a, a, log)[2],
	} {
		require.Regexp(t, "^[0-9a-f]{16,32}$", f)
		all[f] = true
	}
	require.Len(t, all, 7, "each other row has another one")
}

// keepsFor has an item keep something for the second of these steps.
func keepsFor(t *testing.T, steps []Target, i *item, input []byte) {
	i.Keep(1, prepare(t, Config{Steps: steps}).before[1], input)
}

func TestAKeptInputThatCannotBeReadLosesNothing(t *testing.T) {
	for name, spoil := range map[string]func(i *item) []byte{
		"error":      func(i *item) []byte { i.keptErr = errors.New("input/output error"); return []byte("x") },
		"not packed": func(*item) []byte { return []byte("garbage") },
		"empty":      func(*item) []byte { return []byte{} },
	} {
		t.Run(name, func(t *testing.T) {
			first, second := newStation(t, http.StatusOK), newStation(t, http.StatusNoContent)
			i := change("web", 1)
			keepsFor(t, targetsOf(first, second), i, spoil(i))
			c := deliverAgain(t, i, Config{Steps: targetsOf(first, second)})
			require.EqualValues(t, 1, first.requests.Load())
			require.EqualValues(t, 1, second.requests.Load())
			require.Empty(t, c.log.with(t, notDelivered))
			said := c.log.with(t, "kept input cannot be read, the change begins at the first step again")
			require.Len(t, said, 1)
			require.Equal(t, "WARN", said[0]["level"])
			require.Equal(t, i.event.ID, said[0]["id"])
		})
	}
}

// Else the first steps would get the change for ever.
func TestAChangeBeginsAnewOnceOnly(t *testing.T) {
	first, second := newStation(t, http.StatusOK), newStation(t, http.StatusServiceUnavailable)
	i := change("web", 1)
	i.keptErr = errors.New("input/output error")
	keepsFor(t, targetsOf(first, second), i, []byte("x"))
	c := deliverAgain(t, i, Config{Steps: targetsOf(first, second)})
	require.EqualValues(t, 1, first.requests.Load())
	require.EqualValues(t, 1, second.requests.Load())
	given := c.log.with(t, notDelivered)
	require.Len(t, given, 1)
	require.Equal(t, "input/output error", given[0]["error"])
}

// replay pushes the input of a later step, whose own event is not kept.
func TestWhatBeginsAtALaterStepGoesOnBehindItToo(t *testing.T) {
	first, second, third := newStation(t, http.StatusOK), newStation(t, http.StatusOK), newStation(t, http.StatusServiceUnavailable)
	steps := targetsOf(first, second, third)
	before := start(t, Config{Steps: steps})
	i := change("web", 1)
	before.PushAt(i, 1)
	require.Eventually(t, func() bool { return third.requests.Load() > 1 }, 20*time.Second, time.Millisecond)
	before.Leave()
	require.Equal(t, 1, <-before.ended)
	third.status.Store(http.StatusNoContent)
	after := start(t, Config{Steps: steps})
	after.PushAt(i, 1)
	after.finish()
	require.Zero(t, first.requests.Load())
	require.EqualValues(t, 1, second.requests.Load())
	require.EqualValues(t, 1, i.done.Load())
}

// slowly is a step in this process that continues after some time.
func slowly(d time.Duration) Target {
	return Target{Name: "slow", Handler: event.Handler(func(ctx context.Context, e event.Event) (*event.Event, error) {
		select {
		case <-time.After(d):
			return &e, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})}
}

func TestTheInputOfAnAttemptThatTakesLongIsKeptMeanwhile(t *testing.T) {
	quick, long := slowly(slow/2), slowly(10*slow)
	for name, tc := range map[string]struct {
		steps   []Target
		durable bool
		at      time.Duration // when we look
		kept    int           // the step whose input is kept then
	}{
		"quick steps":              {[]Target{quick, quick, quick}, true, slow * 5 / 4, 0},
		"the first step":           {[]Target{long, quick}, true, 5 * slow, 0},
		"not yet":                  {[]Target{quick, long}, true, slow * 5 / 4, 0},
		"a later step":             {[]Target{quick, long}, true, 2 * slow, 1},
		"the last of three":        {[]Target{quick, quick, long}, true, 3 * slow, 2},
		"one after the other":      {[]Target{quick, long, long}, true, 13 * slow, 2},
		"nothing would outlive it": {[]Target{quick, long}, false, 2 * slow, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := start(t, Config{Steps: tc.steps, Durable: tc.durable, Timeout: time.Minute})
				i := change("web", 1)
				c.push(i)
				time.Sleep(tc.at)
				synctest.Wait()
				require.Equal(t, tc.kept, i.keeping().step)
				require.Equal(t, tc.kept > 0, i.keeping().input != nil)
				if tc.kept > 0 { // what a crash now would find
					found := change("web", 1)
					found.kept = i.keeping()
					deliverAgain(t, found, Config{Steps: tc.steps, Timeout: time.Minute})
					require.Zero(t, found.events.Load(), "the first input is not built")
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				require.EqualValues(t, 1, i.done.Load())
				c.finish()
			})
		})
	}
}

// A crash in the first moment of a step repeats the step before, and no other.
func TestWhatIsKeptOfAStepStaysUntilALaterOneTakesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := []Target{slowly(0), slowly(2 * slow), slowly(3 * slow)}
		c := start(t, Config{Steps: steps, Durable: true})
		i := change("web", 1)
		c.push(i)
		var crashes []kept                                                 // what each would find
		for _, passed := range []time.Duration{slow * 3 / 2, slow, slow} { // at the second, at the third, at the third for long
			time.Sleep(passed)
			synctest.Wait()
			crashes = append(crashes, i.keeping())
		}
		c.finish()
		for n, step := range []int{1, 1, 2} {
			require.Equal(t, step, crashes[n].step)
			found := change("web", 1)
			found.kept = crashes[n]
			deliverAgain(t, found, Config{Steps: steps, Timeout: time.Minute})
			require.Zero(t, found.events.Load(), "the first step is not repeated")
		}
		require.Equal(t, 2, i.keeps)
	})
}

func TestWhatIsKeptIsNotKeptAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := 3
		slowToFail := Target{Name: "fails", Handler: event.Handler(func(ctx context.Context, e event.Event) (*event.Event, error) {
			time.Sleep(2 * slow)
			if fails--; fails >= 0 {
				return nil, errors.New("not now")
			}
			return nil, nil //nolint:nilnil // the end of the chain
		})}
		c := start(t, Config{Steps: []Target{slowly(0), slowToFail}, Durable: true})
		i := change("web", 1)
		c.push(i)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.EqualValues(t, 1, i.done.Load())
		require.Equal(t, 1, i.keeps)
		c.finish()
	})
}

// A stop that breaks off what is in flight repeats the step under way, and none
// before it, whether that has taken long or not.
func TestWhatIsBrokenOffIsRepeatedFromTheStepThatWasUnderWay(t *testing.T) {
	for name, after := range map[string]time.Duration{"at once": slow / 10, "while it was slow": 5 * slow} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				steps := []Target{slowly(slow), slowly(time.Hour), slowly(0)}
				c := start(t, Config{Steps: steps, Durable: true, Timeout: 2 * time.Hour})
				i := change("web", 1)
				c.push(i)
				time.Sleep(slow + after)
				c.cutOff()
				require.Equal(t, 1, i.keeping().step)
				require.Equal(t, 1, i.keeps)
				require.Zero(t, i.done.Load())
				i.events.Store(0)
				deliverAgain(t, i, Config{Steps: steps, Timeout: 2 * time.Hour})
				require.Zero(t, i.events.Load())
			})
		})
	}
}

// Without a state, what is lost at a stop goes to the dead letter with the input
// of the step that it names.
func TestWhatIsBrokenOffAndLostIsTheInputOfTheStepUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		marks := Target{Name: "marks", Handler: event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) {
			e.Payload = event.TextPayload("text/plain", "from step 1")
			return &e, nil
		})}
		b := &box{}
		c := startWith(t, b, Config{Steps: []Target{marks, slowly(time.Hour)}, Timeout: 2 * time.Hour})
		c.push(change("web", 1))
		time.Sleep(time.Second)
		c.cutOff()
		_, letters := b.look()
		require.Len(t, letters, 1)
		require.Equal(t, "2", letters[0].Extensions[FailedStep])
		require.Equal(t, "from step 1", letters[0].Payload.Text())
	})
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

// An item that waits from an earlier term goes on as one of this one: a receiver
// passes over a lower epoch.
func TestWhatGoesOnBetweenTwoStepsHasTheExtensionsOfNow(t *testing.T) {
	first, second := newStation(t, http.StatusOK), newStation(t, http.StatusServiceUnavailable)
	_, waits := left(t, Config{Extensions: map[string]string{"epoch": "5"}}, first, second)
	var epoch atomic.Value
	last := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		epoch.Store(r.Header.Get("Ce-Epoch"))
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(last.Close)
	second.status.Store(http.StatusOK)
	deliverAgain(t, waits, Config{
		Extensions: map[string]string{"epoch": "6"}, Steps: append(targetsOf(first, second), Target{URL: last.URL}),
	})
	require.EqualValues(t, 1, first.requests.Load())
	require.Equal(t, "6", epoch.Load())
}
