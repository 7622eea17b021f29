package state_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/object"
)

func TestTheFirstSightIsAnAdd(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		begin := time.Now()
		got := w.put(manifest("web", "U1", 7, `,"spec":{"x":1}`))
		require.Len(t, got, 1)
		e := got[0]
		require.WithinRange(t, e.Time, begin, time.Now())
		require.Equal(t, time.UTC, e.Time.Location())
		const subject = "/apis/apps/v1/namespaces/shop/deployments/web"
		require.Equal(t, &event.Event{
			ID: "u1.7.add", Source: "/clusters/prod%20eu", Subject: subject, PartitionKey: subject, Time: e.Time,
			Cluster: "prod eu", APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "web", Via: "watch",
			Change: event.Change{
				Action:    event.Add,
				Object:    json.RawMessage(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","resourceVersion":"7","uid":"U1"},"spec":{"x":1}}`),
				ChangedBy: []event.Manager{{Manager: "kubectl", Operation: "Update"}},
			},
		}, e)
		require.Equal(t, 1, w.Len())
		require.NotNil(t, w.Get("shop/web"))
	})
}

func TestTheSameVersionIsNoChange(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		w.put(manifest("web", "u1", 7, ""))
		last := w.Get("shop/web")
		changes, err := w.Put(last, event.ViaRelist) // what a relist hands back
		require.NoError(t, err)
		require.Empty(t, changes)
		require.Equal(t, last, w.Get("shop/web"))
		require.Empty(t, w.put(manifest("web", "u1", 7, `,"spec":{}`)))
	})
}

func TestAnotherVersionOfTheResourceIsNoChangeOfItsObjects(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		w.put(manifest("web", "u1", 7, `,"apiVersion":"apps/v1","spec":{"x":1}`))
		w.put(manifest("api", "u2", 8, `,"apiVersion":"apps/v1","spec":{"x":1}`))
		waiting, err := w.Put(w.pack(manifest("api", "u2", 9, `,"apiVersion":"apps/v1","spec":{"x":2}`)), event.ViaWatch)
		require.NoError(t, err)

		next := deployments
		next.Resource.Version, next.Kind.Version = "v2", "v2"
		w.Rescope(next)
		require.Empty(t, w.put(manifest("web", "u1", 7, `,"apiVersion":"apps/v2","spec":{"y":1}`)), "the list brings it in the new form")
		got := w.put(manifest("web", "u1", 10, `,"apiVersion":"apps/v2","spec":{"y":2}`))
		require.Len(t, got, 1)
		require.Equal(t, event.Update, got[0].Action)
		require.Equal(t, "apps/v2", got[0].APIVersion)
		require.Equal(t, "/apis/apps/v2/namespaces/shop/deployments/web", got[0].Subject)
		require.Contains(t, string(got[0].OldObject), `"y":1`, "both sides are of one version")
		require.Contains(t, string(got[0].OldObject), "apps/v2")

		later, err := w.Put(w.pack(manifest("api", "u2", 11, `,"apiVersion":"apps/v2","spec":{"y":3}`)), event.ViaWatch)
		require.NoError(t, err)
		require.Equal(t, waiting[0].Lane(), later[0].Lane(), "they stay in order")
		require.NotEqual(t, waiting[0].Subject(), later[0].Subject())

		before := events(w)(waiting, nil)[0]
		require.Equal(t, "apps/v1", before.APIVersion, "what waits keeps the version that it was seen in")
		require.Equal(t, "/apis/apps/v1/namespaces/shop/deployments/api", before.Subject)
	})
}

func TestAnotherVersionIsAnUpdateWithBothSides(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		w.put(manifest("web", "u1", 7, `,"spec":{"x":1}`))
		got := w.put(manifest("web", "u1", 8, `,"spec":{"x":2}`))
		require.Len(t, got, 1)
		require.Equal(t, event.Update, got[0].Action)
		require.Equal(t, "u1.8.update", got[0].ID)
		require.Equal(t, "u1.7", resourceVersion(t, got[0].OldObject))
		require.Equal(t, "u1.8", resourceVersion(t, got[0].Object))
		require.Equal(t, []event.Manager{{Manager: "kubectl", Operation: "Update"}}, got[0].ChangedBy)
	})
}

func TestANameCreatedAnewIsADeleteAndAnAdd(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		w.put(manifest("web", "u1", 7, ""))
		for _, version := range []int{9, 7} { // an etcd restore may repeat a version
			uid := fmt.Sprint("u", version)
			old := w.Get("shop/web")
			got := w.put(manifest("web", uid, version, ""))
			require.Len(t, got, 2)
			gone, add := got[0], got[1]
			require.Equal(t, event.Delete, gone.Action)
			require.Equal(t, event.NewID(old.UID, old.ResourceVersion, event.Delete), gone.ID)
			require.Equal(t, old.UID+"."+old.ResourceVersion, resourceVersion(t, gone.OldObject))
			require.Nil(t, gone.Object)
			require.Equal(t, event.Add, add.Action)
			require.Equal(t, event.NewID(uid, fmt.Sprint(version), event.Add), add.ID)
			require.Nil(t, add.OldObject)
			require.Equal(t, gone.Subject, add.Subject, "they stay in order")
			require.False(t, add.Time.Before(gone.Time))
			require.Equal(t, uid, w.Get("shop/web").UID)
		}
	})
}

func TestADeleteCarriesWhatWasSeenLast(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		w.put(manifest("web", "u1", 7, ""))
		w.put(manifest("web", "u1", 8, ""))
		got := events(w)(w.Remove("shop/web", event.ViaRelist))
		require.Len(t, got, 1)
		require.Equal(t, "u1.8.delete", got[0].ID)
		require.Equal(t, event.Delete, got[0].Action)
		require.Equal(t, "u1.8", resourceVersion(t, got[0].OldObject))
		require.Nil(t, got[0].Object)
		require.Empty(t, got[0].ChangedBy)
		require.Equal(t, "relist", got[0].Via)
		require.Equal(t, "/apis/apps/v1/namespaces/shop/deployments/web", got[0].Subject)
		require.Zero(t, w.Len())
		require.Empty(t, events(w)(w.Remove("shop/web", event.ViaWatch)), "once")
		require.Equal(t, "u1.9.add", w.put(manifest("web", "u1", 9, ""))[0].ID)
	})
}

func TestAClusterScopedObjectHasNoNamespace(t *testing.T) {
	inBoth(t, nodes, func(t *testing.T, w *world) {
		got := w.put(`{"metadata":{"name":"n/1 ü","uid":"u1","resourceVersion":"7"}}`)
		require.Equal(t, "/api/v1/nodes/n%2F1%20%C3%BC", got[0].Subject)
		require.Empty(t, got[0].Namespace)
		require.Equal(t, "n/1 ü", got[0].Name)
		require.Equal(t, "v1", got[0].APIVersion)
		require.NotNil(t, w.Get("/n/1 ü"))
		require.Len(t, events(w)(w.Remove("/n/1 ü", event.ViaWatch)), 1)
	})
}

func TestABaselineIsNoChange(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		w.Baseline([]*object.Object{w.pack(manifest("a", "u1", 1, "")), w.pack(manifest("b", "u2", 2, ""))})
		require.Equal(t, 2, w.Len())
		require.Empty(t, w.put(manifest("a", "u1", 1, "")))
		got := w.put(manifest("b", "u2", 3, ""))
		require.Equal(t, "u2.3.update", got[0].ID)
	})
}

func TestAbsentNamesWhatAListDoesNotHold(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		for i, name := range []string{"d", "b", "a", "c"} {
			w.put(manifest(name, fmt.Sprint("u", i), i+1, ""))
		}
		present := []*object.Object{w.pack(manifest("b", "other", 9, "")), w.pack(manifest("new", "u", 9, ""))}
		require.Equal(t, []string{"shop/a", "shop/c", "shop/d"}, w.Absent(present))
		require.Len(t, w.Absent(nil), 4)
		require.Equal(t, 4, w.Len(), "it only tells")
	})
}

func TestNoiseIsSkippedOnlyWhenAskedFor(t *testing.T) {
	for _, skip := range []bool{true, false} {
		scope := deployments
		scope.SkipNoise = skip
		w := newWorld(t, scope, "")
		require.Len(t, w.put(manifest("web", "u1", 1, `,"spec":{"x":1}`)), 1, "an Add is no noise")
		noise := w.put(manifest("web", "u1", 2, `,"spec":{"x":1},"status":{"ready":1}`))
		require.Equal(t, skip, len(noise) == 0)
		got := w.put(manifest("web", "u1", 3, `,"spec":{"x":2},"status":{"ready":1}`))
		require.Len(t, got, 1)
		require.Equal(t, "u1.2", resourceVersion(t, got[0].OldObject), "what was seen last, sent or not")
		w.put(manifest("web", "u1", 4, `,"spec":{"x":2},"status":{"ready":2}`))
		require.Equal(t, "u1.4.delete", events(w)(w.Remove("shop/web", event.ViaWatch))[0].ID)
	}
}

func TestAChangeIsTheSameEachTimeItsEventIsBuilt(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		changes, err := w.Put(w.pack(manifest("web", "u1", 1, `,"spec":{"x":1}`)), event.ViaWatch)
		require.NoError(t, err)
		first, err := changes[0].Event(w.codec)
		require.NoError(t, err)
		first.Extensions = map[string]string{"a": "b"}
		w.put(manifest("web", "u1", 2, `,"spec":{"x":2}`)) // what comes later changes nothing
		second, err := changes[0].Event(w.codec)
		require.NoError(t, err)
		require.Nil(t, second.Extensions)
		first.Extensions = nil
		require.Equal(t, first, second)
	})
}

func TestAChangePrintsAsItsNameOnly(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		w.put(manifest("web", "u1", 1, `,"spec":{"x":"hunter2"}`))
		changes, err := w.Put(w.pack(manifest("web", "u1", 2, `,"spec":{"x":"hunter22"}`)), event.ViaWatch)
		require.NoError(t, err)
		const want = "update /apis/apps/v1/namespaces/shop/deployments/web"
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			require.Equal(t, want, fmt.Sprintf(verb, changes[0]), verb)
		}
		var log bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(h).Info("change", "one", changes[0], "all", changes)
		}
		require.NotContains(t, log.String(), "hunter2")
		require.NotContains(t, log.String(), "kubectl")
	})
}

// The decoder asks for what was seen last while changes are put and built.
func TestSeenIsSafeForConcurrentUse(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		var running sync.WaitGroup
		for s := range 4 {
			running.Go(func() {
				name := fmt.Sprint("web-", s)
				for version := 1; version <= 50; version++ {
					o, err := w.packer.Pack([]byte(manifest(name, "u", version, "")), w.Get)
					if err != nil {
						t.Error(err)
						return
					}
					changes, err := w.Put(o, event.ViaWatch)
					if err != nil || len(changes) != 1 {
						t.Errorf("%d changes, %v", len(changes), err)
						return
					}
					running.Go(func() { _, _ = changes[0].Event(w.codec) })
				}
			})
			running.Go(func() {
				for range 200 {
					if o := w.Get(fmt.Sprint("shop/web-", s)); o != nil {
						o.Settle() // as for an object that a relist hands back
					}
					w.Absent(nil)
					w.Len()
				}
			})
		}
		running.Wait()
		require.Equal(t, 4, w.Len())
	})
}
