package lease_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coordination "k8s.io/api/coordination/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/lease"
)

// patience is how long a test waits for what has to happen.
const patience = 30 * time.Second

type server struct {
	t         *testing.T
	rest      rest.Interface
	namespace string
}

func newServer(t *testing.T) *server {
	t.Helper()
	kubeconfig := os.Getenv("KWATCHMAN_TEST_KUBECONFIG")
	if kubeconfig == "" {
		t.Skip("needs a Kubernetes API server: run it with make test, or set KWATCHMAN_TEST_KUBECONFIG")
	}
	c, err := client.Connect(kubeconfig, "lease-test")
	require.NoError(t, err)
	s := &server{t: t, rest: c.REST, namespace: "lease-" + utilrand.String(8)}
	s.do(s.rest.Post().AbsPath("/api/v1/namespaces"), `{"metadata":{"name":"`+s.namespace+`"}}`)
	t.Cleanup(func() {
		_ = s.rest.Delete().AbsPath("/api/v1/namespaces", s.namespace).Do(context.Background()).Error()
	})
	return s
}

func (s *server) do(r *rest.Request, body string) []byte {
	s.t.Helper()
	if body != "" {
		r = r.SetHeader("Content-Type", "application/json").Body([]byte(body))
	}
	raw, err := r.Do(context.Background()).Raw()
	require.NoError(s.t, err)
	return raw
}

func (s *server) path() string {
	return "/apis/coordination.k8s.io/v1/namespaces/" + s.namespace + "/leases/watchers"
}

func (s *server) lease() *coordination.Lease {
	s.t.Helper()
	var l coordination.Lease
	require.NoError(s.t, json.Unmarshal(s.do(s.rest.Get().AbsPath(s.path()), ""), &l))
	return &l
}

// watcher is a candidate whose terms are told to the test.
type watcher struct {
	t     *testing.T
	e     *lease.Election
	terms chan *lease.Term
	end   func() error
	leave chan error    // ends a term, with an error or nil
	drain chan struct{} // not nil: a stop goes on until it is closed

	mu      sync.Mutex
	content string          // under mu
	log     strings.Builder // under mu
}

// Write takes the lines of its log.
func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *watcher) logs() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

func (s *server) candidate(name string) *watcher { return s.candidateFor(name, 3*time.Second) }

func (s *server) candidateFor(name string, duration time.Duration) *watcher {
	s.t.Helper()
	w := &watcher{t: s.t, terms: make(chan *lease.Term, 10), leave: make(chan error)}
	w.e = lease.New(lease.Config{
		Client: s.rest, Namespace: s.namespace, Name: "watchers", Identity: name, Duration: duration,
		Logger: slog.New(slog.NewTextHandler(w, nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.e.Run(ctx, w.lead) }()
	w.end = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	s.t.Cleanup(func() { _ = w.end() })
	return w
}

func (w *watcher) lead(ctx context.Context, t *lease.Term) error {
	t.Publish(func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.content
	})
	w.terms <- t
	select {
	case <-ctx.Done():
		if w.drain != nil {
			<-w.drain
		}
		return nil
	case err := <-w.leave:
		return err
	}
}

func (w *watcher) says(content string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.content = content
}

func (w *watcher) term() *lease.Term {
	w.t.Helper()
	select {
	case t := <-w.terms:
		return t
	case <-time.After(patience):
		w.t.Fatal("no term begins")
		return nil
	}
}

func eventually(t *testing.T, ok func() bool, what string) {
	t.Helper()
	require.Eventually(t, ok, patience, 20*time.Millisecond, what)
}

func TestOneLeadsAndWhatItLeavesReachesTheNext(t *testing.T) {
	s := newServer(t)
	first := s.candidate("first")
	one := first.term()
	require.EqualValues(t, 0, one.Epoch)
	require.Empty(t, one.Found)
	second := s.candidate("second")
	first.says("up to 42")
	eventually(t, func() bool { return s.lease().Annotations[lease.Annotation] == "up to 42" }, "it is written at a renewal")
	spec := s.lease().Spec
	require.Equal(t, "first", *spec.HolderIdentity)
	require.EqualValues(t, 3, *spec.LeaseDurationSeconds)
	require.Empty(t, second.terms, "the other stands by")
	require.True(t, first.e.Leads())
	require.False(t, second.e.Leads())
	first.says("up to 43")
	require.NoError(t, first.end())
	two := second.term()
	require.EqualValues(t, 1, two.Epoch)
	require.Equal(t, "up to 43", two.Found, "what was so at the end is left, too")
	require.False(t, one.Lost(), "it was given back")
}

func TestALeaderThatIsNotHeardOfIsFollowedAndKnowsIt(t *testing.T) {
	s := newServer(t)
	first := s.candidate("first")
	one := first.term()
	second := s.candidate("second")
	s.takes("third", 7)
	eventually(t, one.Lost, "the term ends")
	require.False(t, one.Holds())
	var next *lease.Term
	select { // the third is never heard of
	case next = <-first.terms:
	case next = <-second.terms:
	case <-time.After(patience):
		t.Fatal("nobody follows")
	}
	require.EqualValues(t, 8, next.Epoch)
}

// takes writes another holder into the Lease, as after a pause in which it expired.
func (s *server) takes(holder string, transitions int32) {
	s.t.Helper()
	eventually(s.t, func() bool { // the leader writes to it, too
		l := s.lease()
		*l.Spec.HolderIdentity, *l.Spec.LeaseTransitions = holder, transitions
		raw, err := json.Marshal(l)
		require.NoError(s.t, err)
		return s.rest.Put().AbsPath(s.path()).SetHeader("Content-Type", "application/json").Body(raw).Do(s.t.Context()).Error() == nil
	}, "another one has it")
}

func (s *server) exists() bool {
	return s.rest.Get().AbsPath(s.path()).Do(context.Background()).Error() == nil
}

func ended(ctx context.Context) bool { return ctx.Err() != nil }

func TestALeaseThatIsLostDuringAStopIsKnownToWhatIsStillUnderWay(t *testing.T) {
	s := newServer(t)
	first := s.candidate("first")
	first.drain = make(chan struct{})
	finish := sync.OnceFunc(func() { close(first.drain) })
	t.Cleanup(finish)
	one := first.term()
	go func() { _ = first.end() }() // and lead is at work until it may finish
	for range 2 {
		before := s.lease().Spec.RenewTime.Time
		eventually(t, func() bool { return s.lease().Spec.RenewTime.After(before) }, "it is renewed while lead is at work")
	}
	require.NoError(t, one.Held().Err(), "a stop is no loss")
	s.takes("third", 7)
	eventually(t, func() bool { return ended(one.Held()) }, "what is under way knows")
	require.Equal(t, lease.ErrLost, context.Cause(one.Held()))
	finish()
	require.NoError(t, first.end())
	require.Equal(t, "third", *s.lease().Spec.HolderIdentity, "the Lease of another one is not given back")
}

// vanishing is an API server that lets somebody have the Lease and then answers no
// more.
func vanishing(t *testing.T) *server {
	t.Helper()
	var gone atomic.Bool
	quit := make(chan struct{})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gone.Load() {
			<-quit
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"metadata":{"name":"watchers"},"spec":{"holderIdentity":"","leaseTransitions":4}}`))
		gone.Store(r.Method == http.MethodPut)
	}))
	t.Cleanup(func() {
		close(quit)
		api.Close()
	})
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(path, []byte(`{"clusters":[{"name":"c","cluster":{"server":"`+api.URL+`"}}],
		"contexts":[{"name":"c","context":{"cluster":"c"}}],"current-context":"c"}`), 0o600))
	c, err := client.Connect(path, "lease-test")
	require.NoError(t, err)
	return &server{t: t, rest: c.REST, namespace: "any"}
}

func TestALeaseThatCannotBeRenewedDuringAStopIsLostBeforeAnotherOneMayLead(t *testing.T) {
	first := vanishing(t).candidate("first")
	first.drain = make(chan struct{})
	t.Cleanup(func() { close(first.drain) })
	one := first.term()
	began := time.Now() // a little after the last renewal was asked for
	go func() { _ = first.end() }()
	eventually(t, func() bool { return ended(one.Held()) }, "what is under way knows")
	require.Less(t, time.Since(began), 3*time.Second, "so long the others wait")
	require.Equal(t, lease.ErrLost, context.Cause(one.Held()))
}

func TestWhatATermHoldsEndsWithIt(t *testing.T) {
	s := newServer(t)
	first := s.candidate("first")
	one := first.term()
	require.NoError(t, one.Held().Err())
	require.NoError(t, first.end())
	require.True(t, ended(one.Held()))
	require.Equal(t, context.Canceled, context.Cause(one.Held()), "it was not lost")
}

func TestALeaseThatIsDeletedIsMadeAgainByItsLeaderAndNotByWhoStandsBy(t *testing.T) {
	s := newServer(t)
	first := s.candidateFor("first", 10*time.Second)
	one := first.term()
	first.says("up to 42")
	var others []*watcher
	for _, name := range []string{"second", "third", "fourth", "fifth"} {
		others = append(others, s.candidateFor(name, 10*time.Second))
	}
	for range 3 {
		eventually(t, func() bool { return s.lease().Annotations[lease.Annotation] == "up to 42" }, "it is written")
		s.do(s.rest.Delete().AbsPath(s.path()), "")
		eventually(t, s.exists, "it is there again")
		require.Equal(t, "first", *s.lease().Spec.HolderIdentity)
	}
	require.True(t, one.Holds())
	for _, o := range others {
		require.Empty(t, o.terms)
	}
}

func TestWhoStandsByGivesADeletedLeaseTheTimeOfItsLeader(t *testing.T) {
	s := newServer(t)
	const held = 5 * time.Second
	s.do(s.rest.Post().AbsPath(strings.TrimSuffix(s.path(), "/watchers")), `{"metadata":{"name":"watchers","annotations":{"`+lease.Annotation+`":"up to 42"}},
		"spec":{"holderIdentity":"paused","leaseDurationSeconds":5,"leaseTransitions":3,"renewTime":"2026-01-01T00:00:00.000000Z"}}`)
	second := s.candidateFor("second", held)
	eventually(t, func() bool { return strings.Contains(second.logs(), "leader=paused") }, "it stands by")
	seen := time.Now() // it saw the Lease just now, or a moment ago
	s.do(s.rest.Delete().AbsPath(s.path()), "")
	next := second.term()
	require.Greater(t, time.Since(seen), held-2*time.Second, "the leader may have made it again until then")
	require.EqualValues(t, 4, next.Epoch)
	require.True(t, next.Before)
	require.Equal(t, "up to 42", next.Found, "what was in it is not lost")
	require.Equal(t, "up to 42", s.lease().Annotations[lease.Annotation], "until there is something better")
}

func TestWhoStartsAndFindsNoLeaseGivesALeaderAMoment(t *testing.T) {
	s := newServer(t)
	began := time.Now()
	first := s.candidateFor("first", 10*time.Second)
	term := first.term()
	took := time.Since(began)
	require.GreaterOrEqual(t, took, 3*time.Second, "a leader may be about to make it again")
	require.Less(t, took, 8*time.Second, "a first installation waits no longer")
	require.False(t, term.Before)
}

func TestALabelOfTheLeaseIsNobodysBusiness(t *testing.T) {
	s := newServer(t)
	first := s.candidate("first")
	one := first.term()
	for range 5 {
		s.do(s.rest.Patch("application/merge-patch+json").AbsPath(s.path()).Body([]byte(`{"metadata":{"labels":{"team":"`+utilrand.String(5)+`"}}}`)), "")
		before := s.lease().ResourceVersion
		eventually(t, func() bool { return s.lease().ResourceVersion != before }, "it is renewed")
	}
	require.True(t, one.Holds())
	require.NotEmpty(t, s.lease().Labels["team"], "the label stays")
}

func TestALeaseThatIsDeletedIsMadeAgainWithWhatWasInIt(t *testing.T) {
	s := newServer(t)
	first := s.candidate("first")
	one := first.term()
	first.says("up to 42")
	eventually(t, func() bool { return s.lease().Annotations[lease.Annotation] == "up to 42" }, "it is written")
	s.do(s.rest.Delete().AbsPath(s.path()), "")
	eventually(t, func() bool {
		return s.rest.Get().AbsPath(s.path()).Do(t.Context()).Error() == nil
	}, "it is there again")
	require.Equal(t, "up to 42", s.lease().Annotations[lease.Annotation])
	require.True(t, one.Holds(), "the term goes on")
	require.NoError(t, first.end())
	next := s.candidate("second").term()
	require.EqualValues(t, 1, next.Epoch)
	require.Equal(t, "up to 42", next.Found)
}

func TestTwoOfTheSameNameDoNotBothLead(t *testing.T) {
	s := newServer(t)
	first := s.candidate("same")
	one := first.term()
	second := s.candidate("same")
	two := second.term() // as a process does that takes the place of one that was killed
	require.EqualValues(t, 1, two.Epoch)
	eventually(t, one.Lost, "the first one gives way")
	require.Never(t, func() bool { return two.Lost() || len(first.terms) > 0 }, 2*time.Second, 50*time.Millisecond, "and stays behind")
}

func TestWhoFollowsKnowsThatThereWasALeader(t *testing.T) {
	s := newServer(t)
	first := s.candidate("first")
	require.False(t, first.term().Before)
	require.NoError(t, first.end())
	s.do(s.rest.Patch("application/merge-patch+json").AbsPath(s.path()).Body([]byte(`{"metadata":{"annotations":null}}`)), "")
	next := s.candidate("second").term()
	require.True(t, next.Before)
	require.Empty(t, next.Found)
}

func TestAWatcherThatCannotWorkLetsAnotherOneLead(t *testing.T) {
	s := newServer(t)
	first := s.candidate("first")
	first.term()
	second := s.candidate("second")
	broken := errors.New("the disk is full")
	first.leave <- broken
	require.Equal(t, broken, first.end())
	require.EqualValues(t, 1, second.term().Epoch)
}

func TestANamespaceThatDoesNotExistIsOneLineAtTheStart(t *testing.T) {
	s := newServer(t)
	e := lease.New(lease.Config{
		Client: s.rest, Namespace: "nowhere-" + utilrand.String(5), Name: "watchers", Identity: "first", Duration: 3 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	})
	err := e.Run(t.Context(), func(context.Context, *lease.Term) error { return nil })
	require.ErrorContains(t, err, "does not exist: create it, or name another")
	require.True(t, strings.HasPrefix(err.Error(), "KW_LEASE: "), err.Error())
}

func TestAnElectionThatShowsNoLifeIsStuck(t *testing.T) {
	s := newServer(t)
	first := s.candidate("first")
	first.term()
	require.Empty(t, first.e.Stuck(time.Now()))
	require.Contains(t, first.e.Stuck(time.Now().Add(2*time.Minute)), "has not been looked at")
}

func TestWhatIsLeftAtTheEndSurvivesThatTheLeaseWasDeleted(t *testing.T) {
	s := newServer(t)
	first := s.candidate("first")
	first.term()
	first.says("up to 42")
	s.do(s.rest.Delete().AbsPath(s.path()), "")
	require.NoError(t, first.end())
	require.Equal(t, "up to 42", s.lease().Annotations[lease.Annotation])
	require.Empty(t, *s.lease().Spec.HolderIdentity, "it is free")
}
