package chain

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// box is a dead letter in memory; full makes it fail.
type box struct {
	mu      sync.Mutex
	full    bool
	tries   int
	letters []*event.Event
}

func (b *box) Name() string { return "box" }

func (b *box) Put(_ context.Context, e *event.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tries++
	if b.full {
		return errors.New("no room")
	}
	b.letters = append(b.letters, e)
	return nil
}

// set changes the box, and look reads it.
func (b *box) set(full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full = full
}

func (b *box) look() (tries int, letters []*event.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tries, append([]*event.Event{}, b.letters...)
}

// startWith runs a chain with a dead letter.
func startWith(t *testing.T, d DeadLetter, cfg Config) *running {
	t.Helper()
	r := prepare(t, cfg)
	r.SetDeadLetter(d)
	r.run()
	return r
}

func TestAPermanentAnswerLeadsToTheDeadLetterWithTheStepsInput(t *testing.T) {
	first := function(t, func(_ context.Context, e event.Event) (*event.Event, error) {
		e.Payload = event.TextPayload("text/plain", "from step 1")
		return &e, nil
	})
	second := endpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, strings.Repeat("é", 2000), http.StatusForbidden)
	})
	b := &box{}
	c := startWith(t, b, Config{Steps: steps(first, second), Extensions: map[string]string{"team": "shop"}})
	i := change("web", 1)
	c.push(i)
	c.finish()
	_, letters := b.look()
	require.Len(t, letters, 1)
	e := letters[0]
	require.Equal(t, "from step 1", e.Payload.Text())
	require.Equal(t, "shop", e.Extensions["team"])
	require.Equal(t, second, e.Extensions[ErrorDest])
	require.Equal(t, "403", e.Extensions[ErrorCode])
	require.Equal(t, "2", e.Extensions[FailedStep])
	require.Equal(t, "1", e.Extensions[FailedTries])
	require.LessOrEqual(t, len(e.Extensions[ErrorData]), 1024)
	text, err := base64.StdEncoding.DecodeString(e.Extensions[ErrorData])
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(text), "answered 403: éé"))
	_, err = e.ToCloudEvent()
	require.NoError(t, err)
	require.EqualValues(t, 1, i.done.Load())
	require.Equal(t, "box", c.log.with(t, notDelivered)[0]["deadLetter"])
	delivered, givenUp := c.Counts()
	require.Equal(t, [2]int64{0, 1}, [2]int64{delivered, givenUp})
}

func TestALimitOfRetriesLeadsToTheDeadLetterAndTheLaneGoesOn(t *testing.T) {
	var failing atomic.Bool
	failing.Store(true)
	step := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Ce-Id") == "web.1.update" {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	b := &box{}
	c := startWith(t, b, Config{Steps: steps(step), RetryMax: 3})
	c.push(change("web", 1), change("web", 2))
	c.finish()
	_, letters := b.look()
	require.Len(t, letters, 1)
	require.Equal(t, "4", letters[0].Extensions[FailedTries])
	require.Equal(t, "502", letters[0].Extensions[ErrorCode])
	delivered, _ := c.Counts()
	require.EqualValues(t, 1, delivered)
}

func TestADeadLetterThatFailsKeepsTheItemAndHoldsBackNoOther(t *testing.T) {
	step := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Ce-Id"), "bad") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	b := &box{full: true}
	c := startWith(t, b, Config{Steps: steps(step), Concurrency: 1, RetryMax: 1})
	bad, good := change("bad", 1), change("good", 1)
	c.push(bad, good)
	require.Eventually(t, func() bool { tries, _ := b.look(); return tries > 3 && good.done.Load() == 1 }, 20*time.Second, time.Millisecond,
		"it is tried again, also beyond the limit of retries")
	require.Zero(t, bad.done.Load())
	require.Len(t, c.log.with(t, "dead letter fails, the change stays in the queue"), 1)
	b.set(false)
	require.Eventually(t, func() bool { return bad.done.Load() == 1 }, 20*time.Second, time.Millisecond)
	c.finish()
	_, letters := b.look()
	require.Len(t, letters, 1)
	require.Equal(t, "400", letters[0].Extensions[ErrorCode])
	require.Equal(t, "1", letters[0].Extensions[FailedTries], "attempts at the step, not at the dead letter")
}

func TestNoAnswerIsMinusOneAsKnativeHasIt(t *testing.T) {
	b := &box{}
	c := startWith(t, b, Config{Steps: steps("http://127.0.0.1:1"), RetryMax: 1})
	c.push(change("web", 1))
	c.finish()
	_, letters := b.look()
	require.Equal(t, "-1", letters[0].Extensions[ErrorCode])
}

func TestABuiltInStepIsNamedInTheDeadLetter(t *testing.T) {
	b := &box{}
	h := event.Handler(func(context.Context, event.Event) (*event.Event, error) {
		return nil, event.Permanent(errors.New("no"))
	})
	c := startWith(t, b, Config{Steps: []Target{{Name: "slack", Handler: h}}})
	c.push(change("web", 1))
	c.finish()
	_, letters := b.look()
	require.Equal(t, "slack", letters[0].Extensions[ErrorDest])
}

func TestAPostIsADeadLetterAtAnEndpointAndShowsNoSecret(t *testing.T) {
	var status atomic.Int32
	status.Store(http.StatusInternalServerError)
	got := make(chan event.Event, 1)
	url := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if s := int(status.Load()); s != http.StatusOK {
			http.Error(w, "no "+r.URL.String(), s)
			return
		}
		got <- received(t, r)
		_, _ = w.Write([]byte("thanks"))
	})
	c := prepare(t, Config{Steps: steps(url), Timeout: 20 * time.Second})
	post, err := c.NewPost(url + "/very-secret-token")
	require.NoError(t, err)
	defer post.Close()
	require.Equal(t, url, post.Name())
	require.NoError(t, post.Check(t.Context()))
	e := change("web", 1).event
	for _, s := range []int32{500, 400, 404} {
		status.Store(s)
		err := post.Put(t.Context(), &e)
		require.ErrorContains(t, err, "answered ")
		require.NotContains(t, err.Error(), "very-secret-token")
	}
	status.Store(http.StatusOK)
	require.NoError(t, post.Put(t.Context(), &e))
	require.Equal(t, e.ID, (<-got).ID)
	_, err = c.NewPost("://very-secret-token")
	require.ErrorContains(t, err, "is no URL")
	require.NotContains(t, err.Error(), "very-secret-token")
	nowhere, err := c.NewPost("http://127.0.0.1:1/very-secret-token")
	require.NoError(t, err)
	require.NotContains(t, nowhere.Check(t.Context()).Error(), "very-secret-token")
	require.Error(t, nowhere.Put(t.Context(), &e))
}

func TestAStepIsFoundAgainByItsPlaceOrByWhatItIs(t *testing.T) {
	c := prepare(t, Config{Steps: steps("http://a:1/x", "http://b:1", "http://b:1/other", "http://c:1")})
	for _, tc := range []struct {
		place     int
		dest      string
		index     int
		moved, ok bool
	}{
		{1, "http://a:1", 0, false, true},
		{3, "http://b:1", 2, false, true},
		{1, "http://c:1", 3, true, true},
		{9, "http://c:1", 3, true, true},
		{0, "http://c:1", 3, true, true},   // Knative's own dead letter names no place
		{1, "http://b:1", 0, false, false}, // which of the two?
		{2, "http://x:1", 1, true, true},   // it is elsewhere now
		{5, "http://x:1", 0, false, false},
		{2, "", 1, false, true},
		{5, "", 0, false, false},
		{0, "", 0, false, false},
	} {
		index, moved, ok := c.StepOf(tc.place, tc.dest)
		require.Equal(t, tc.ok, ok, "%+v", tc)
		require.Equal(t, tc.moved, moved, "%+v", tc)
		require.Equal(t, tc.index, index, "%+v", tc)
	}
}

func TestDurableItemsAreLeftByAStopButForThoseInFlight(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	first := function(t, func(_ context.Context, e event.Event) (*event.Event, error) {
		entered <- struct{}{}
		<-release
		return &e, nil
	})
	second := endpoint(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	c := start(t, Config{Steps: steps(first, second), Concurrency: 1, Durable: true})
	flying, waiting, later := change("flying", 1), change("waiting", 1), change("flying", 2)
	c.push(flying, waiting, later)
	<-entered
	c.Close()
	close(release)
	require.Equal(t, 2, <-c.ended)
	require.EqualValues(t, 1, flying.done.Load(), "it came to the end of the chain")
	require.Zero(t, waiting.done.Load()+later.done.Load())
	require.Empty(t, c.log.with(t, notDelivered))
	nothingLeft(t)
}

func TestWhatEndsWithTheProcessGoesToTheDeadLetterAtAStop(t *testing.T) {
	b := &box{}
	step := endpoint(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	c := startWith(t, b, Config{Steps: steps(step), RetryWaitMin: time.Hour, RetryWaitMax: time.Hour})
	c.push(change("a", 1), change("a", 2))
	c.asleep(1)
	c.cutOff()
	_, letters := b.look()
	require.Len(t, letters, 2)
	require.Len(t, c.log.with(t, notDelivered), 2)
}

func TestAnInputOfALaterStepIsKeptByItsItem(t *testing.T) {
	var fail atomic.Int32
	fail.Store(2)
	first := function(t, func(_ context.Context, e event.Event) (*event.Event, error) {
		e.Payload = event.TextPayload("text/plain", "from step 1")
		return &e, nil
	})
	second := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if fail.Add(-1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if e := received(t, r); e.Payload.Text() != "from step 1" {
			t.Error("another input")
		}
		w.WriteHeader(http.StatusNoContent)
	})
	c := start(t, Config{Steps: steps(first, second)})
	i := change("web", 1)
	c.push(i)
	c.finish()
	require.NotEmpty(t, i.keeping().input, "and let go with the item")
	require.EqualValues(t, 1, i.events.Load(), "the event is built once")
}
