package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/watcher/metrics"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

const patience = 60 * time.Second

// server is the real API server behind a proxy that can be told to misbehave.
type server struct {
	t         *testing.T
	direct    rest.Interface // past the proxy
	client    rest.Interface // through the proxy
	namespace string
	proxy     *httptest.Server
	// answer, if set, is asked before a request goes on; true: it has answered.
	answer atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
	mu     sync.Mutex
	asked  []string
}

func newServer(t *testing.T) *server {
	t.Helper()
	kubeconfig := os.Getenv("KWATCHMAN_TEST_KUBECONFIG")
	if kubeconfig == "" {
		t.Skip("needs a Kubernetes API server: run it with make test, or set KWATCHMAN_TEST_KUBECONFIG")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	require.NoError(t, err)
	target, err := url.Parse(cfg.Host)
	require.NoError(t, err)
	transport, err := rest.TransportFor(cfg)
	require.NoError(t, err)
	s := &server{t: t, direct: restClient(t, cfg), namespace: "source-" + utilrand.String(8)}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport, FlushInterval: -1,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	}
	s.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.URL.RequestURI())
		s.mu.Unlock()
		if answer := s.answer.Load(); answer != nil && (*answer)(w, r) {
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	s.client = restClient(t, &rest.Config{Host: s.proxy.URL})
	s.do("POST", "/api/v1/namespaces", `{"metadata":{"name":"`+s.namespace+`"}}`)
	t.Cleanup(func() {
		_ = s.direct.Delete().AbsPath("/api/v1/namespaces/" + s.namespace).Do(context.Background()).Error()
		s.proxy.CloseClientConnections()
		s.proxy.Close()
	})
	return s
}

func restClient(t *testing.T, cfg *rest.Config) rest.Interface {
	t.Helper()
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	cfg = rest.CopyConfig(cfg)
	cfg.GroupVersion, cfg.APIPath, cfg.QPS = &schema.GroupVersion{Version: "v1"}, "/", -1
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(cfg)
	require.NoError(t, err)
	return client
}

func (s *server) do(verb, path, body string) {
	s.t.Helper()
	r := s.direct.Verb(verb).AbsPath(path).SetHeader("Content-Type", "application/json")
	if verb == "PATCH" {
		r.SetHeader("Content-Type", "application/merge-patch+json")
	}
	require.NoError(s.t, r.Body([]byte(body)).Do(context.Background()).Error())
}

func (s *server) path(name string) string {
	return "/api/v1/namespaces/" + s.namespace + "/configmaps" + strings.TrimSuffix("/"+name, "/")
}

func (s *server) create(name, value string) {
	s.t.Helper()
	s.do("POST", s.path(""), fmt.Sprintf(`{"metadata":{"name":%q},"data":{"n":%q}}`, name, value))
}

func (s *server) edit(name, value string) {
	s.t.Helper()
	s.do("PATCH", s.path(name), fmt.Sprintf(`{"data":{"n":%q}}`, value))
}

// misbehave answers requests itself from now on; nil ends that.
func (s *server) misbehave(answer func(http.ResponseWriter, *http.Request) bool) {
	if answer == nil {
		s.answer.Store(nil)
		return
	}
	s.answer.Store(&answer)
}

// requests counts the requests so far whose query holds all of parts.
func (s *server) requests(parts ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, uri := range s.asked {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(uri, p)
		}
		if all {
			n++
		}
	}
	return n
}

// lists counts the lists so far.
func (s *server) lists() int { return s.requests("sendInitialEvents=true") + s.requests("limit=500") }

// following is a source that runs.
type following struct {
	t      *testing.T
	source *Source
	state  *state.State
	logs   *eventtest.LogBuffer
	cancel context.CancelFunc
	ended  chan error
	mu     sync.Mutex
	events []*event.Event
}

// follow runs a source for the test's ConfigMaps until the test ends; before,
// if not nil, is called before a change is taken.
func (s *server) follow(before func(ctx context.Context), change func(*Config)) *following {
	s.t.Helper()
	return s.followIn("", before, change)
}

// followIn is follow with the state in a folder.
func (s *server) followIn(dir string, before func(ctx context.Context), change func(*Config)) *following {
	s.t.Helper()
	zip, err := object.NewCompressor()
	require.NoError(s.t, err)
	f := &following{t: s.t, logs: &eventtest.LogBuffer{}, ended: make(chan error, 1)}
	synced := make(chan struct{})
	log := slog.New(slog.NewJSONHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.state, err = state.Open(state.Config{Dir: dir, Events: 1 << 20, Bytes: 1 << 30, Compressor: zip, Logger: log})
	require.NoError(s.t, err)
	scope := state.Scope{
		Cluster: "test", Resource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"},
		Kind: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"},
	}
	kept, _ := f.state.Kept()
	watch := state.Watch{
		Name: "cm", Resource: scope.Resource, Kind: scope.Kind, Namespaced: true, Namespace: s.namespace, Old: state.Always,
	}.Adopt(kept)
	require.NoError(s.t, f.state.Start(s.t.Context(), []state.Watch{watch}, nil))
	cfg := Config{
		Client: s.client, Watch: watch, State: f.state, Compressor: zip, Redactor: object.NewRedactor(f.state.Key(), nil),
		Scope: scope, NotServed: func() {},
		Synced: func() { close(synced) },
		Logger: log,
		Apply: func(ctx context.Context, tx *state.Tx) error {
			if before != nil && len(tx.Changes()) > 0 {
				before(ctx)
			}
			return f.state.Apply(ctx, tx)
		},
	}
	if change != nil {
		change(&cfg)
	}
	f.source = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.state.Deliver(f.take)
	go func() {
		err := f.source.Run(ctx)
		f.ended <- errors.Join(err, f.state.Close())
	}()
	s.t.Cleanup(func() { _ = f.stop() })
	select {
	case <-synced:
	case err := <-f.ended:
		f.ended <- err
		require.NoError(s.t, err)
	case <-time.After(patience):
		require.Fail(s.t, "not synced", f.logs.String())
	}
	return f
}

func (f *following) take(q *state.Queued) {
	e, err := q.Event()
	if err != nil {
		f.t.Error(err)
	}
	q.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, e)
}

func (f *following) stop() error {
	f.cancel()
	err := <-f.ended
	f.ended <- err
	return err
}

// objects counts what is seen.
func (f *following) objects() int {
	n, err := f.source.seen.Len(context.Background())
	require.NoError(f.t, err)
	return n
}

func (f *following) all() []*event.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events)
}

// values gives what the changes of one ConfigMap say, in order: old→new.
func (f *following) values(name string) []string {
	var out []string
	for _, e := range f.all() {
		if e.Name == name {
			out = append(out, n(f.t, e.OldObject)+"→"+n(f.t, e.Object))
		}
	}
	return out
}

func n(t *testing.T, manifest json.RawMessage) string {
	t.Helper()
	var m struct{ Data struct{ N string } }
	if len(manifest) > 0 {
		require.NoError(t, json.Unmarshal(manifest, &m))
	}
	return m.Data.N
}

func (f *following) await(name string, want ...string) {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return len(f.values(name)) >= len(want) }, patience, 10*time.Millisecond,
		"want %v, got %v", want, f.values(name))
	require.Equal(f.t, want, f.values(name))
}

func TestAStreamingListIsUsedWhereItIsServedAndAListElsewhere(t *testing.T) {
	s := newServer(t)
	for i := range 1200 { // more than two pages
		s.create(fmt.Sprintf("c%d", i), "0")
	}
	streaming := s.follow(nil, nil)
	require.Equal(t, 1, s.requests("sendInitialEvents=true"))
	require.Zero(t, s.requests("limit="))

	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("sendInitialEvents") == "" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422}`)
		return true
	})
	paged := s.follow(nil, nil)
	require.Equal(t, 3, s.requests("limit=500"))
	for _, f := range []*following{streaming, paged} {
		require.GreaterOrEqual(t, f.objects(), 1200, "and kube-root-ca.crt, if a controller made it")
	}
	s.edit("c777", "1")
	streaming.await("c777", "0→1")
	paged.await("c777", "0→1")
	e := paged.all()[0]
	require.Equal(t, "ConfigMap", e.Kind)
	require.Contains(t, string(e.OldObject), `"kind":"ConfigMap"`, "a list's items do not name it")
}

func TestAfterABrokenWatchEachChangeArrivesOnceWithoutANewList(t *testing.T) {
	s := newServer(t)
	s.create("a", "0")
	f := s.follow(nil, nil)
	lists := s.lists()
	for i := range 10 {
		s.edit("a", fmt.Sprint(2*i+1))
		s.misbehave(func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		})
		s.proxy.CloseClientConnections()
		s.edit("a", fmt.Sprint(2*i+2)) // while nobody watches
		s.misbehave(nil)
	}
	want := make([]string, 20)
	for i := range want {
		want[i] = fmt.Sprintf("%d→%d", i, i+1)
	}
	f.await("a", want...)
	require.Equal(t, lists, s.lists(), "nothing was listed again")
}

func gone(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Query().Get("watch") == "" || r.URL.Query().Get("sendInitialEvents") != "" {
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusGone)
	_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}`)
	return true
}

// noPast answers that no state of the past can be had.
func noPast(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Query().Get("resourceVersionMatch") != "Exact" {
		return false
	}
	refuse(w, http.StatusGone, "Expired", "the required revision has been compacted")
	return true
}

func refuse(w http.ResponseWriter, status int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":%q}`, reason, status, message)
}

// A gap is made while nobody watches: what its objects go through.
func (s *server) gap() {
	s.misbehave(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	s.proxy.CloseClientConnections()
	s.edit("changed", "1")
	s.edit("changed", "2")
	s.edit("deleted", "1")
	s.do("DELETE", s.path("deleted"), "")
	s.do("DELETE", s.path("gone"), "")
	s.do("DELETE", s.path("again"), "")
	s.create("again", "3")
	s.edit("again", "4")
	s.do("DELETE", s.path("again"), "")
	s.create("again", "5")
	s.edit("again", "6")
	s.create("added", "7")
	s.edit("added", "8")
}

var inGap = []string{"changed", "deleted", "gone", "same", "again"}

// The watch cache of an API server may be younger than etcd's history.
func TestAGapIsReadChangeByChangeAsFarAsEtcdHasIt(t *testing.T) {
	s := newServer(t)
	for _, name := range inGap {
		s.create(name, "0")
	}
	f := s.follow(nil, nil)
	s.gap()
	s.misbehave(gone)
	require.Eventually(t, func() bool { return len(f.values("added")) > 1 }, patience, 10*time.Millisecond, "%s", f.logs)
	s.misbehave(nil)
	f.await("changed", "0→1", "1→2")
	f.await("deleted", "0→1", "1→")
	f.await("gone", "0→")
	f.await("again", "0→", "→3", "3→4", "4→", "→5", "5→6")
	f.await("added", "→7", "7→8")
	for _, e := range f.all() {
		require.Equal(t, event.ViaRelist, e.Via)
		if e.Action == event.Update {
			require.NotEmpty(t, e.ChangedBy, "who changed it is known after a gap too")
		}
	}
	require.NotContains(t, f.logs.String(), "are merged")
	require.Contains(t, f.logs.String(), "changes in between are read one by one")
	s.edit("same", "1")
	f.await("same", "0→1")
	require.Equal(t, event.ViaWatch, f.all()[len(f.all())-1].Via)
}

func TestWhereTheHistoryIsGoneTheNetDifferencesArrive(t *testing.T) {
	s := newServer(t)
	for _, name := range inGap {
		s.create(name, "0")
	}
	f := s.follow(nil, nil)
	s.gap()
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool { return gone(w, r) || noPast(w, r) })
	require.Eventually(t, func() bool { return len(f.values("added")) > 0 }, patience, 10*time.Millisecond, "%s", f.logs)
	s.misbehave(nil)
	f.await("changed", "0→2")
	f.await("deleted", "0→")
	f.await("gone", "0→")
	f.await("again", "0→", "→6")
	f.await("added", "→8")
	require.Contains(t, f.logs.String(), "changes in between are merged", "a merge is never silent")
	s.edit("same", "1")
	f.await("same", "0→1")
}

// An API server that has restarted has history since then only, and says since
// when.
func TestChangesSinceTheHistoryBeginsArriveOneByOne(t *testing.T) {
	s := newServer(t)
	s.create("a", "0")
	s.create("gone", "0")
	f := s.follow(nil, nil)
	s.misbehave(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	})
	s.proxy.CloseClientConnections()
	s.edit("a", "1")
	s.edit("a", "2")
	raw, err := s.direct.Get().AbsPath(s.path("")).Param("limit", "1").Do(context.Background()).Raw()
	require.NoError(t, err)
	var list struct{ Metadata metav1.ListMeta }
	require.NoError(t, json.Unmarshal(raw, &list))
	begins := list.Metadata.ResourceVersion
	s.edit("a", "3")
	s.do("DELETE", s.path("gone"), "")
	s.edit("a", "4")
	var refused atomic.Bool
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("watch") == "" || refused.Swap(true) {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusGone)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,`+
			`"message":"too old resource version: 1 (%s)"}`, begins)
		return true
	})
	f.await("a", "0→1", "1→2", "2→3", "3→4")
	f.await("gone", "0→")
	require.Equal(t, 1, s.requests("resourceVersionMatch=Exact", "limit=500"))
	vias := map[string]int{}
	for _, e := range f.all() {
		vias[e.Via]++
	}
	require.Equal(t, map[string]int{event.ViaRelist: 2, event.ViaWatch: 3}, vias)
}

func TestAHistoryThatCannotBeListedIsComparedWithTheNewestState(t *testing.T) {
	s := newServer(t)
	s.create("a", "0")
	f := s.follow(nil, nil)
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		exact := r.URL.Query().Get("resourceVersionMatch") == "Exact"
		watch := r.URL.Query().Get("watch") != "" && r.URL.Query().Get("sendInitialEvents") == ""
		if !exact && !watch {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusGone)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,`+
			`"message":"too old resource version: 1 (2)"}`)
		return true
	})
	s.proxy.CloseClientConnections()
	s.edit("a", "1")
	f.await("a", "0→1")
	s.misbehave(nil)
	s.edit("a", "2")
	f.await("a", "0→1", "1→2")
	require.Equal(t, 1, s.requests("resourceVersionMatch=Exact", "limit=500"), "once, until there is progress")
}

// A restored etcd is behind what was seen. The proxy says so of its list, and the
// real API server cannot know of the version to come.
func TestWhereTheHistoryWentBackTheNetDifferencesArrive(t *testing.T) {
	s := newServer(t)
	s.create("a", "0")
	dir := t.TempDir()
	f := s.followIn(dir, nil, nil)
	s.edit("a", "1")
	f.await("a", "0→1")
	require.NoError(t, f.stop())
	s.edit("a", "2")
	behind := func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("limit") != "1" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`)
		return true
	}
	s.misbehave(behind)
	next := s.followIn(dir, nil, nil)
	next.await("a", "1→2")
	require.Equal(t, event.ViaRelist, next.all()[0].Via)
	require.Contains(t, next.logs.String(), "history went back behind what was seen")

	// Also while it runs.
	s.edit("a", "3")
	next.await("a", "1→2", "2→3")
	lists := s.lists()
	require.Eventually(t, func() bool {
		s.proxy.CloseClientConnections()
		return s.lists() > lists
	}, patience, 200*time.Millisecond, "it lists again")
	s.misbehave(nil)
	s.edit("a", "4")
	next.await("a", "1→2", "2→3", "3→4")
}

func TestAWatchIsNotReadWhileChangesCannotBeTaken(t *testing.T) {
	s := newServer(t)
	s.create("a", "0")
	release := make(chan struct{})
	var taken atomic.Int32
	f := s.follow(func(ctx context.Context) {
		taken.Add(1)
		select {
		case <-release:
		case <-ctx.Done():
		}
	}, nil)
	for i := range 20 {
		s.edit("a", fmt.Sprint(i+1))
	}
	require.Eventually(t, func() bool { return taken.Load() == 1 }, patience, 10*time.Millisecond)
	require.Empty(t, f.values("a"))
	close(release)
	require.Eventually(t, func() bool { return len(f.values("a")) == 20 }, patience, 10*time.Millisecond)
	require.Equal(t, "19→20", f.values("a")[19])
}

func TestAStopEndsASourceThatIsBlockedOrCutOff(t *testing.T) {
	s := newServer(t)
	s.create("a", "0")
	blocked := s.follow(func(ctx context.Context) { <-ctx.Done() }, nil)
	s.edit("a", "1")
	require.NoError(t, blocked.stop())

	cut := s.follow(nil, nil)
	s.proxy.CloseClientConnections()
	s.proxy.Listener.Close()
	require.Eventually(t, func() bool {
		return strings.Contains(cut.logs.String(), "backing off") || strings.Contains(cut.logs.String(), "trying again")
	}, patience, 10*time.Millisecond)
	require.NoError(t, cut.stop())
}

func TestASourceThatMayNotWatchSaysSo(t *testing.T) {
	s := newServer(t)
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("watch") == "" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"cannot watch"}`)
		return true
	})
	f := s.follow(nil, nil) // the list is allowed
	err := <-f.ended
	f.ended <- err
	require.ErrorContains(t, err, `watch configmaps: cannot watch; add to its Role in namespace `+s.namespace)
	require.ErrorContains(t, err, `{apiGroups: [""], resources: ["configmaps"], verbs: ["list", "watch"]}`)
}

func TestNoManifestIsEverLogged(t *testing.T) {
	s := newServer(t)
	const planted = "planted-value-in-a-manifest"
	s.create("a", planted+"-0")
	f := s.follow(nil, nil)
	s.edit("a", planted+"-1")
	f.await("a", planted+"-0→"+planted+"-1")
	garbage := []string{
		`{"type":"MODIFIED","object":{"metadata":{"name":"` + planted + `"},"data":{"n":"` + planted + `"`,
		`{"type":"` + planted + `","object":{}}` + "\n",
		`{"type":"ADDED","object":{"metadata":["` + planted + `"]}}` + "\n",
		`{"type":"ADDED","object":"` + planted + `"}` + "\n",
		planted + "\n",
		`{"type":"ERROR","object":"` + planted + `"}` + "\n",
	}
	var next atomic.Int32
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		i := int(next.Add(1)) - 1
		if i >= len(garbage) || r.URL.Query().Get("watch") == "" {
			return false
		}
		_, _ = io.WriteString(w, garbage[i])
		return true
	})
	s.proxy.CloseClientConnections()
	require.Eventually(t, func() bool { return int(next.Load()) >= len(garbage) }, patience, 10*time.Millisecond, "%s", f.logs)
	s.edit("a", "last")
	f.await("a", planted+"-0→"+planted+"-1", planted+"-1→last")
	require.NotContains(t, f.logs.String(), planted)
}

// An API server that takes a watch and then says nothing, not even good-bye, is
// told to who asks after the health. A queue that is full is no such thing.
func TestAWatchWithoutLifeShows(t *testing.T) {
	s := newServer(t)
	var full atomic.Bool
	release, waits := make(chan struct{}), make(chan struct{})
	f := s.follow(func(ctx context.Context) {
		if full.Load() {
			close(waits)
			select {
			case <-release:
			case <-ctx.Done():
			}
		}
	}, nil)
	now := time.Now()
	require.Empty(t, f.source.Stuck(now.Add(14*time.Minute)))
	require.Contains(t, f.source.Stuck(now.Add(16*time.Minute)), "the watch of configmaps has shown no life for 1")
	s.create("a", "1")
	f.await("a", "→1")
	require.Empty(t, f.source.Stuck(now.Add(15*time.Minute)), "it lives as long as something comes")
	full.Store(true)
	s.edit("a", "2")
	<-waits
	require.Empty(t, f.source.Stuck(now.Add(24*time.Hour)), "it waits for room")
	close(release)
	full.Store(false)
	f.await("a", "→1", "1→2")
}

// gauge is what a scrape says of configmaps.
func gauge(t *testing.T, m *metrics.Metrics, name string) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	_, rest, ok := strings.Cut(w.Body.String(), "\n"+name+`{resource="configmaps"} `)
	require.True(t, ok, w.Body.String())
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// A watch that is refused shows, and so does that it is well again; what is gone
// with its resource is not counted twice.
func TestMetricsOfAWatch(t *testing.T) {
	s := newServer(t)
	s.create("a", "1")
	s.create("b", "1")
	m := metrics.New("test")
	f := s.follow(nil, func(c *Config) { c.Metrics = m })
	require.Equal(t, "1", gauge(t, m, "kwatchman_watches"))
	require.Equal(t, "0", gauge(t, m, "kwatchman_watches_down"))
	objects, err := strconv.Atoi(gauge(t, m, "kwatchman_objects"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, objects, 2)

	s.misbehave(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
		return true
	})
	s.proxy.CloseClientConnections()
	require.Eventually(t, func() bool { return gauge(t, m, "kwatchman_watches_down") == "1" }, patience, 10*time.Millisecond)
	s.misbehave(nil)
	require.Eventually(t, func() bool { return gauge(t, m, "kwatchman_watches_down") == "0" }, patience, 10*time.Millisecond)

	f.source.Stop()
	require.Eventually(t, func() bool { return gauge(t, m, "kwatchman_watches") == "0" }, patience, 10*time.Millisecond)
	require.Equal(t, "0", gauge(t, m, "kwatchman_objects"))
}

// B16: an outage that is seen as resets, and then a history that is gone, which is
// an answer: nothing has to be waited for.
func TestAfterAnOutageAHistoryThatIsGoneCostsNoFurtherWait(t *testing.T) {
	s := newServer(t)
	s.create("a", "0")
	m := metrics.New("test")
	f := s.follow(nil, func(c *Config) { c.Metrics = m })
	var open atomic.Bool
	var since atomic.Int64
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if !open.Load() {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return true
		}
		since.CompareAndSwap(0, time.Now().UnixNano())
		return gone(w, r)
	})
	s.proxy.CloseClientConnections()
	resets := func() int { return strings.Count(f.logs.String(), "trying again") }
	require.Eventually(t, func() bool { return resets() >= 6 }, patience, 10*time.Millisecond, "the waits have grown")
	require.Equal(t, "1", gauge(t, m, "kwatchman_watches_down"))
	s.edit("a", "1")
	open.Store(true)
	f.await("a", "0→1")
	require.Less(t, time.Since(time.Unix(0, since.Load())), 2*time.Second, "from the first answer on")
}

// B16: a watch that is taken and ends at once, without a word, is not followed.
func TestAWatchThatEndsAtOnceIsNotFollowed(t *testing.T) {
	s := newServer(t)
	s.create("a", "0")
	m := metrics.New("test")
	f := s.follow(nil, func(c *Config) { c.Metrics = m })
	s.misbehave(func(w http.ResponseWriter, r *http.Request) bool { return r.URL.Query().Get("watch") != "" })
	s.proxy.CloseClientConnections()
	require.Eventually(t, func() bool { return gauge(t, m, "kwatchman_watches_down") == "1" }, patience, 10*time.Millisecond)
	require.True(t, f.source.Behind())
	require.NotContains(t, f.logs.String(), "watching again")
	s.misbehave(nil)
	s.edit("a", "1")
	f.await("a", "0→1")
	require.Eventually(t, func() bool { return gauge(t, m, "kwatchman_watches_down") == "0" }, patience, 10*time.Millisecond)
	require.Contains(t, f.logs.String(), "watching again")
}

// B7: the question whether the history went back costs the API server no search.
func TestTheHistoryIsAskedForWithoutSelectors(t *testing.T) {
	s := newServer(t)
	s.create("a", "0")
	f := s.follow(nil, func(c *Config) { c.Watch.Labels, c.FieldSelector = "app=nothing", "metadata.name!=b" })
	asked := s.requests("limit=1")
	s.proxy.CloseClientConnections()
	require.Eventually(t, func() bool { return s.requests("limit=1") > asked }, patience, 10*time.Millisecond, "%s", f.logs)
	require.Zero(t, s.requests("limit=1", "labelSelector"))
	require.Zero(t, s.requests("limit=1", "fieldSelector"))
}

// A list of the past is also one of the whole resource, for a takeover.
func TestPastStatesOfAnObjectAreReadInOrder(t *testing.T) {
	s := newServer(t)
	s.create("a", "0")
	f := s.follow(nil, nil)
	s.edit("a", "1")
	s.edit("a", "2")
	s.do("DELETE", s.path("a"), "")
	s.create("a", "3")
	s.edit("a", "4")
	f.await("a", "0→1", "1→2", "2→", "→3", "3→4")
	var versions []string
	for _, e := range f.all() {
		_, rest, _ := strings.Cut(e.ID, ".")
		version, _, _ := strings.Cut(rest, ".")
		versions = append(versions, version)
	}
	past := NewPast(f.source.cfg)
	values := func(from string, deleted []string, to string) (out []string, whole bool) {
		states, whole, err := past.States(t.Context(), s.namespace, "a", from, deleted, to)
		require.NoError(t, err)
		for _, o := range states {
			if o == nil {
				out = append(out, "-")
				continue
			}
			manifest, err := o.Manifest(f.source.cfg.Compressor)
			require.NoError(t, err)
			out = append(out, n(t, manifest))
		}
		return out, whole
	}
	for _, tt := range []struct {
		from    string
		deleted []string
		to      string
		want    []string
	}{
		{versions[0], []string{versions[1]}, versions[4], []string{"1", "2", "-", "3", "4"}},
		{versions[0], []string{versions[1]}, "", []string{"1", "2", "-"}},
		{versions[1], []string{versions[1]}, "", []string{"2", "-"}},
		{"", nil, versions[4], []string{"-", "3", "4"}},
		{versions[3], nil, versions[4], []string{"3", "4"}},
		{versions[0], nil, versions[1], []string{"1", "2"}},
	} {
		got, whole := values(tt.from, tt.deleted, tt.to)
		require.Equal(t, tt.want, got)
		require.True(t, whole)
	}
	s.misbehave(noPast)
	_, whole := values(versions[0], []string{versions[1]}, versions[4])
	require.False(t, whole, "what is compacted is not told as if it were all")
}
