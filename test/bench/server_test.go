package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// sample is a recording of n objects, each changed once.
func sample(n int) *recording {
	rec := &recording{version: "100"}
	object := func(i, version, replicas int) []byte {
		return fmt.Appendf(nil, `{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":%q,"namespace":%q,"uid":%q,"resourceVersion":"%d"},`+
			`"spec":{"replicas":%d,"template":{"metadata":{"labels":{"app":%q}}}}}`, objectName(i), objectNamespace(i), sampleUID(i), version, replicas, objectName(i))
	}
	for i := range n {
		rec.objects = append(rec.objects, recordedObject{objectName(i), sampleUID(i), object(i, 1+i, 1)})
		line := fmt.Appendf(nil, `{"type":"MODIFIED","object":%s}`+"\n", object(i, 101+i, 2))
		rec.events = append(rec.events, recordedEvent{fmt.Sprint(101 + i), objectName(i), line})
	}
	return rec
}

func sampleUID(i int) string { return fmt.Sprintf("%08x-1111-4222-8333-%012x", 7*i, i) }

// recorded serves a recording in front of an API server that answers everything
// with 418.
func recorded(t *testing.T, rec *recording) (*recordedServer, dynamic.ResourceInterface) {
	t.Helper()
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	t.Cleanup(behind.Close)
	s, err := startServer(rec, &rest.Config{Host: behind.URL})
	require.NoError(t, err)
	t.Cleanup(s.close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, s.kubeconfig(path))
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	require.NoError(t, err)
	client, err := dynamic.NewForConfig(cfg)
	require.NoError(t, err)
	return s, client.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"})
}

// reflect runs client-go's reflector until the test ends.
func reflect(t *testing.T, client dynamic.ResourceInterface) cache.Store {
	t.Helper()
	store := cache.NewStore(cache.MetaNamespaceKeyFunc)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			t.Error("the streaming list was not taken")
			return nil, http.ErrNotSupported
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return client.Watch(ctx, o) },
	}
	r := cache.NewReflectorWithOptions(lw, &unstructured.Unstructured{}, store, cache.ReflectorOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.RunWithContext(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return store
}

const waiting = 20 * time.Second

func TestClientGoFollowsTheRecordedServer(t *testing.T) {
	rec := sample(25)
	s, client := recorded(t, rec)
	s.reset(60) // more than were recorded
	store := reflect(t, client)
	st, err := s.watching(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(store.ListKeys()) == 60 }, waiting, time.Millisecond)

	expired := time.Now()
	require.NoError(t, st.expire(t.Context()))
	st, err = s.watching(t.Context())
	require.NoError(t, err)
	require.False(t, s.askedSince(expired, true).IsZero(), "it lists anew")

	played := time.Now()
	require.NoError(t, st.play(t.Context(), true))
	require.Eventually(t, func() bool { return !s.askedSince(played, false).IsZero() }, waiting, time.Millisecond, "it comes back")
	_, err = s.watching(t.Context())
	require.NoError(t, err, "at the version of the last event")
	require.True(t, s.askedSince(played, true).IsZero(), "without a list")
	require.Len(t, store.ListKeys(), 60)
	for i := range rec.objects {
		o, ok, err := store.GetByKey(objectNamespace(i) + "/" + objectName(i))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, rec.events[i].version, o.(*unstructured.Unstructured).GetResourceVersion())
	}
}

func TestAListComesInPagesOfWholeObjects(t *testing.T) {
	s, client := recorded(t, sample(5))
	s.reset(12)
	seen := map[string]bool{}
	next, pages := "", 0
	for first := true; first || next != ""; first = false {
		list, err := client.List(t.Context(), metav1.ListOptions{Limit: 5, Continue: next})
		require.NoError(t, err)
		require.Equal(t, "100", list.GetResourceVersion())
		for _, o := range list.Items {
			seen[string(o.GetUID())] = true
		}
		next, pages = list.GetContinue(), pages+1
	}
	require.Len(t, seen, 12)
	require.Equal(t, 3, pages)
	one, err := client.List(t.Context(), metav1.ListOptions{Limit: 1})
	require.NoError(t, err)
	require.Len(t, one.Items, 1)
	require.Equal(t, int64(11), *one.GetRemainingItemCount())
}

func TestThereIsNoHistoryButTheRecordedOne(t *testing.T) {
	s, client := recorded(t, sample(5))
	s.reset(5)
	_, err := client.Watch(t.Context(), metav1.ListOptions{ResourceVersion: "99"})
	require.True(t, apierrors.IsResourceExpired(err), "%v", err)
	s.mu.Lock()
	s.played = 5
	s.mu.Unlock()
	_, err = client.List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsInternalError(err), "what was not recorded is not made up: %v", err)
	one, err := client.List(t.Context(), metav1.ListOptions{Limit: 1})
	require.NoError(t, err)
	require.Equal(t, "105", one.GetResourceVersion())
}

func TestTheRecordedServerPassesOnTheRestAndTakesNobodyElse(t *testing.T) {
	s, client := recorded(t, sample(5))
	s.reset(5)
	_, err := client.Get(t.Context(), "one", metav1.GetOptions{})
	require.ErrorContains(t, err, fmt.Sprint(http.StatusTeapot))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+"/version", nil)
	require.NoError(t, err)
	resp, err := s.server.Client().Do(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "HTTP/2.0", resp.Proto)
}
