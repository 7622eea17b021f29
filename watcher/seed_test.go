package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/lease"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/source"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// past is an API server's memory of one resource: what it was at each version, by
// key, with the value of each object; "" is an absence.
type past struct {
	t        *testing.T
	scope    state.Scope
	packer   *object.Packer
	versions map[string][]string   // key → versions in order, "-" for a deletion
	refuse   error                 // what it answers instead
	within   string                // the namespace that is listed; empty: all
	listed   func(resource string) // notes that it was
}

func (p *past) object(key, version string) *object.Object {
	namespace, name, _ := strings.Cut(key, "/")
	o, err := p.packer.Pack(fmt.Appendf(nil, `{"metadata":{"name":%q,"namespace":%q,"uid":"u-%s","resourceVersion":%q}}`, name, namespace, name, version), nil)
	require.NoError(p.t, err)
	return o
}

func (p *past) Objects(_ context.Context, version string, each func([]*object.Object, bool) error) error {
	p.listed(p.scope.Resource.Resource)
	if p.refuse != nil {
		return p.refuse
	}
	var out []*object.Object
	for key, versions := range p.versions {
		if p.within != "" && !strings.HasPrefix(key, p.within+"/") {
			continue
		}
		last := ""
		for _, v := range versions {
			if v != "-" && !state.Later(v, version) {
				last = v
			}
		}
		if last != "" {
			out = append(out, p.object(key, last))
		}
	}
	return each(out, true)
}

func (p *past) States(_ context.Context, namespace, name, from string, _ []string, to string) (states []*object.Object, whole bool, err error) {
	if p.refuse != nil {
		return nil, false, p.refuse
	}
	key, started := object.Key(namespace, name), from == ""
	if started {
		states = append(states, nil)
	}
	for _, v := range p.versions[key] {
		if n := len(states); n > 1 && states[n-1] != nil && states[n-1].ResourceVersion == to {
			break
		}
		switch {
		case v == from:
			states, started = append(states, p.object(key, v)), true
		case started && v == "-":
			states = append(states, nil)
		case started:
			states = append(states, p.object(key, v))
		}
	}
	return states, true, nil
}

// taker is a watcher that takes over.
type taker struct {
	t     *testing.T
	log   *eventtest.LogBuffer
	state *state.State
	codec *object.Compressor
	pasts map[string]*past

	mu    sync.Mutex // guards loads
	loads []string
}

func scopeOf(name, kind string) state.Scope {
	return state.Scope{
		Cluster: "c", Resource: schema.GroupVersionResource{Version: "v1", Resource: name}, Kind: schema.GroupVersionKind{Version: "v1", Kind: kind},
	}
}

func newTaker(t *testing.T, dir string) *taker {
	t.Helper()
	codec, err := object.NewCompressor()
	require.NoError(t, err)
	k := &taker{t: t, codec: codec, log: &eventtest.LogBuffer{}, pasts: map[string]*past{}}
	k.state, err = state.Open(state.Config{Dir: dir, Events: 100, Bytes: 1 << 20, Compressor: codec, Logger: slog.New(slog.NewJSONHandler(k.log, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, k.state.Close()) })
	for name, kind := range map[string]string{"configmaps": "ConfigMap", "secrets": "Secret"} {
		scope := scopeOf(name, kind)
		k.pasts[name] = &past{
			t: t, scope: scope, versions: map[string][]string{}, listed: k.listed,
			packer: object.NewPacker(scope.Kind, object.NewRedactor(k.state.Key(), nil), codec.Vocabulary(name)),
		}
	}
	return k
}

func (k *taker) listed(resource string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.loads = append(k.loads, resource)
}

func watchOf(name, kind, version string) state.Watch {
	s := scopeOf(name, kind)
	return state.Watch{Name: name, Resource: s.Resource, Kind: s.Kind, Namespaced: true, Version: version, All: true}
}

// take takes over what marks say, as a watcher that watches the named resources.
func (k *taker) take(epoch int64, marks []state.Mark, resources ...string) {
	k.t.Helper()
	t := &takeover{
		state: k.state, codec: k.codec, log: slog.New(slog.NewJSONHandler(k.log, nil)),
		past: func(w state.Watch) pastReader {
			of := *k.pasts[w.Resource.Resource]
			of.within = w.Namespace
			return &of
		},
		served: func(w state.Watch) (client.Resource, bool) {
			return client.Resource{GroupVersionResource: w.Resource, Kind: w.Kind, Namespaced: true}, true
		},
		parts: func(w state.Watch) []state.Watch {
			if slices.Contains(resources, w.Resource.Resource) {
				return []state.Watch{w}
			}
			return nil
		},
		scope: func(w state.Watch) state.Scope { return scopeOf(w.Resource.Resource, w.Kind.Kind) },
	}
	found := (&state.Marks{Epoch: epoch - 1, Watches: marks}).Text(k.codec)
	_, err := t.run(k.t.Context(), &lease.Term{Epoch: epoch, Found: found, Before: true})
	require.NoError(k.t, err)
	watches, since := k.state.Kept()
	require.NoError(k.t, k.state.Start(k.t.Context(), watches, since))
}

// queued is what is to be told: key from→to.
func (k *taker) queued() (out []string) {
	for _, q := range k.state.Queue() {
		out = append(out, fmt.Sprintf("%s %s→%s", q.Key(), q.From(), q.To()))
	}
	slices.Sort(out)
	return out
}

// known is the version of an object that the state knows.
func (k *taker) known(name, key string) string {
	k.t.Helper()
	o, err := k.state.Seen(watchOf(name, k.pasts[name].scope.Kind.Kind, "1"), k.pasts[name].scope).Get(key, false)
	require.NoError(k.t, err)
	if o == nil {
		return ""
	}
	return o.ResourceVersion
}

func mark(name, kind, version string, waiting ...state.WaitingObject) state.Mark {
	return state.Mark{Watch: watchOf(name, kind, version), At: 5, Waiting: waiting}
}

// B1: what the configuration has no more of is not asked for, and what may not be
// listed is a loud baseline; all else goes on.
func TestATakeoverThatMayNotListGoesOn(t *testing.T) {
	k := newTaker(t, "")
	k.pasts["configmaps"].versions["a/x"] = []string{"7"}
	k.pasts["secrets"].refuse = source.NewGoneError(errors.New("watch secrets: forbidden"))
	k.take(4, []state.Mark{mark("configmaps", "ConfigMap", "10"), mark("secrets", "Secret", "10")}, "configmaps")
	require.Equal(t, []string{"configmaps"}, k.loads)
	require.Equal(t, "7", k.known("configmaps", "a/x"))
	require.NotContains(t, k.log.String(), "ERROR")

	k = newTaker(t, "")
	k.pasts["secrets"].refuse = source.NewGoneError(errors.New("watch secrets: forbidden"))
	k.take(4, []state.Mark{mark("secrets", "Secret", "10"), mark("configmaps", "ConfigMap", "10")}, "configmaps", "secrets")
	require.Contains(t, k.log.String(), `"comparedWith":"a baseline","error":"watch secrets: forbidden"`)
	watches, _ := k.state.Kept()
	require.Len(t, watches, 2)
	require.Equal(t, "10", watches[0].Version)
	require.Empty(t, watches[1].Version)
	require.EqualValues(t, 5, watches[1].Old, "what was created since is a change")
	told, since := k.pasts["secrets"].object("a/told", "9"), k.pasts["secrets"].object("a/since", "11")
	told.Created, since.Created = 6, 6
	require.True(t, watches[1].IsBaseline(told), "but not what was there at the watermark, for clocks differ")
	require.False(t, watches[1].IsBaseline(since))
}

// What waits of a resource that is not watched any more, and may not be read, is
// said.
func TestWhatWaitedOfAResourceThatIsGoneIsSaid(t *testing.T) {
	k := newTaker(t, "")
	k.pasts["secrets"].refuse = source.NewGoneError(errors.New("watch secrets: forbidden"))
	k.take(4, []state.Mark{mark("secrets", "Secret", "10", state.WaitingObject{Key: "a/s", From: "3", To: "8"})}, "configmaps")
	require.Contains(t, k.log.String(), "changes that waited at the leader before cannot be read")
	require.Contains(t, k.log.String(), `"objects":1,"merged":0,"first":"a/s","error":"watch secrets: forbidden"`)
	require.Contains(t, k.state.Marks(4).Text(k.codec), `"Waiting":[{"k":"a/s","f":"3","t":"8","o":true}]`, "somebody else may have them")
}

// B13: the next leader begins where all is acknowledged, and reads what waits of
// each object from the history.
func TestWhatWaitsIsReadAgainAndNothingElseIsRetold(t *testing.T) {
	k := newTaker(t, "")
	v := k.pasts["configmaps"].versions
	v["a/told"] = []string{"3", "9"}
	v["a/stuck"] = []string{"4", "6", "8"}
	v["a/gone"] = []string{"2", "-"}
	v["a/new"] = []string{"7"}
	k.take(4, []state.Mark{mark(
		"configmaps", "ConfigMap", "10",
		state.WaitingObject{Key: "a/stuck", From: "4", To: "8"},
		state.WaitingObject{Key: "a/gone", From: "2", Deleted: []string{"2"}},
		state.WaitingObject{Key: "a/new", To: "7"},
	)}, "configmaps")
	require.Equal(t, []string{"a/gone 2→", "a/new →7", "a/stuck 4→6", "a/stuck 6→8"}, k.queued())
	require.Equal(t, "9", k.known("configmaps", "a/told"))
	require.Equal(t, "8", k.known("configmaps", "a/stuck"))
	require.Empty(t, k.known("configmaps", "a/gone"))
	require.NotContains(t, k.log.String(), "ERROR")
}

// leave has a watcher with a state end while changes wait.
func leave(t *testing.T, dir string, epoch int64, put func(k *taker, see func(key, version string))) {
	t.Helper()
	k := newTaker(t, dir)
	k.state.SetEpoch(epoch)
	w := watchOf("configmaps", "ConfigMap", "1")
	require.NoError(t, k.state.Start(t.Context(), []state.Watch{w}, nil))
	seen := k.state.Seen(w, k.pasts["configmaps"].scope)
	put(k, func(key, version string) {
		var tx state.Tx
		if version == "-" {
			require.NoError(t, seen.Remove(&tx, key, event.ViaWatch))
		} else {
			require.NoError(t, seen.Put(&tx, k.pasts["configmaps"].object(key, version), event.ViaWatch))
		}
		require.NoError(t, k.state.Apply(t.Context(), &tx))
	})
	require.NoError(t, k.state.Close())
}

// B15: what waits in a state is told, also after another has led, if that one has
// left it; what it has told is not told again.
func TestWhatWaitsInAStateIsToldAlsoAfterAnotherHasLed(t *testing.T) {
	dir := t.TempDir()
	leave(t, dir, 5, func(_ *taker, see func(key, version string)) {
		see("a/z", "3")
		see("a/w", "4")
		see("a/told", "5")
		see("a/z", "-")
		see("a/w", "6")
	})
	k := newTaker(t, dir)
	k.pasts["configmaps"].refuse = source.NewGoneError(errors.New("compacted"))
	k.take(7, []state.Mark{mark(
		"configmaps", "ConfigMap", "20",
		state.WaitingObject{Key: "a/z", From: "3", Deleted: []string{"3"}},
		state.WaitingObject{Key: "a/w", From: "4", To: "6"},
	)}, "configmaps")
	require.Equal(t, []string{"a/w 4→6", "a/z 3→"}, k.queued(), "the Adds and a/told were acknowledged by the leader between")
	require.NotContains(t, k.log.String(), "changes that waited")
}

// What another leader has queued behind that comes from the history.
func TestAStateAndTheHistoryGoTogether(t *testing.T) {
	dir := t.TempDir()
	leave(t, dir, 5, func(_ *taker, see func(key, version string)) {
		see("a/w", "4")
		see("a/w", "6")
	})
	k := newTaker(t, dir)
	k.pasts["configmaps"].versions["a/w"] = []string{"4", "6", "8", "9"}
	k.take(7, []state.Mark{mark("configmaps", "ConfigMap", "20", state.WaitingObject{Key: "a/w", From: "4", To: "9"})}, "configmaps")
	require.Equal(t, []string{"a/w 4→6", "a/w 6→8", "a/w 8→9"}, k.queued())
	require.Equal(t, "9", k.known("configmaps", "a/w"))
}

// A state of the last leader is what counts, whatever the API server still has.
func TestAStateOfTheLastLeaderGoesOnAsItIs(t *testing.T) {
	dir := t.TempDir()
	leave(t, dir, 5, func(_ *taker, see func(key, version string)) { see("a/w", "4") })
	k := newTaker(t, dir)
	k.take(6, []state.Mark{mark("configmaps", "ConfigMap", "20", state.WaitingObject{Key: "a/w", To: "4"})}, "configmaps")
	require.Empty(t, k.loads)
	require.Equal(t, []string{"a/w →4"}, k.queued())
}

// A reload leaves marks of before beside those of now.
func TestMarksOfTwoConfigurationsAreReadOnce(t *testing.T) {
	k := newTaker(t, "")
	k.pasts["configmaps"].versions["shop/a"] = []string{"4", "6", "8"}
	ended := mark("configmaps", "ConfigMap", "6", state.WaitingObject{Key: "shop/a", From: "4", To: "6"})
	ended.Ended = true
	now := mark("configmaps", "ConfigMap", "10", state.WaitingObject{Key: "shop/a", From: "6", To: "8"})
	now.Namespace = "shop"
	k.take(4, []state.Mark{ended, now}, "configmaps")
	require.Equal(t, []string{"configmaps"}, k.loads)
	require.Equal(t, []string{"shop/a 4→6", "shop/a 6→8"}, k.queued())
	require.Equal(t, "8", k.known("configmaps", "shop/a"))

	whole, part := mark("configmaps", "ConfigMap", "6"), mark("configmaps", "ConfigMap", "10")
	part.Namespace = "shop"
	areas := func(parts func(w state.Watch) []state.Watch) (out []string) {
		wholes, narrow := (&takeover{parts: parts}).areas([]state.Mark{whole, part})
		for _, a := range append(wholes, narrow...) {
			out = append(out, fmt.Sprintf("%s %s mixed=%v", a.Namespace, a.Version, a.mixed))
		}
		slices.Sort(out)
		return out
	}
	require.Equal(t, []string{" 6 mixed=true", "shop 10 mixed=false"}, areas(func(w state.Watch) []state.Watch { return []state.Watch{w} }))
	require.Equal(t, []string{"other 6 mixed=false", "shop 10 mixed=false"}, areas(func(w state.Watch) []state.Watch {
		shop, other := w, w
		shop.Namespace, other.Namespace = "shop", "other"
		if w.Namespace == "shop" {
			return []state.Watch{shop}
		}
		return []state.Watch{shop, other}
	}), "what a namespace has itself is newer")
}

// Where a reload had listed some namespaces anew, each object is known as it was told
// last, and what is between is found by a list.
func TestAReloadThatWasUnderWayIsTakenOver(t *testing.T) {
	k := newTaker(t, "")
	v := k.pasts["configmaps"].versions
	v["shop/a"], v["other/b"] = []string{"4", "8"}, []string{"5", "9"}
	whole, part := mark("configmaps", "ConfigMap", "6"), mark("configmaps", "ConfigMap", "10")
	part.Namespace = "shop"
	k.take(4, []state.Mark{whole, part}, "configmaps")
	require.Equal(t, "8", k.known("configmaps", "shop/a"))
	require.Equal(t, "5", k.known("configmaps", "other/b"))
	watches, _ := k.state.Kept()
	require.Len(t, watches, 2)
	require.Empty(t, watches[0].Version, "of all namespaces")
	require.Equal(t, "10", watches[1].Version)
}

// What was acknowledged in the last second before a kill is still named in the Lease.
func TestWhatAStateHasAcknowledgedIsNotOwed(t *testing.T) {
	dir := t.TempDir()
	leave(t, dir, 5, func(k *taker, see func(key, version string)) {
		see("a/w", "4")
		for _, q := range k.state.Queue() {
			q.Done()
		}
	})
	k := newTaker(t, dir)
	k.take(6, []state.Mark{mark("configmaps", "ConfigMap", "20", state.WaitingObject{Key: "a/w", To: "4"})}, "configmaps")
	require.Empty(t, k.queued())
	require.NotContains(t, k.state.Marks(6).Text(k.codec), `"Waiting"`)
}

// What a replica has recorded behind the Lease comes by the watch.
func TestAStateIsTakenUpToWhatTheLeaseNames(t *testing.T) {
	for name, last := range map[string]string{"an update behind it": "12", "a deletion behind it": "-"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			leave(t, dir, 5, func(_ *taker, see func(key, version string)) {
				for _, v := range []string{"5", "8", last} {
					see("a/x", v)
				}
			})
			k := newTaker(t, dir)
			k.pasts["configmaps"].refuse = source.NewGoneError(errors.New("compacted"))
			k.take(7, []state.Mark{mark("configmaps", "ConfigMap", "9", state.WaitingObject{Key: "a/x", From: "5", To: "8"})}, "configmaps")
			require.Equal(t, []string{"a/x 5→8"}, k.queued())
			require.NotContains(t, k.log.String(), "changes that waited")
		})
	}
}

// Where too much waited to be named, and its history is gone, what a replica has
// itself is told, though some of it may have been.
func TestAStateIsToldBehindAMarkThatWasHeldBackAndIsGone(t *testing.T) {
	dir := t.TempDir()
	leave(t, dir, 5, func(_ *taker, see func(key, version string)) {
		see("a/x", "5")
		see("a/x", "12")
	})
	k := newTaker(t, dir)
	k.pasts["configmaps"].refuse = source.NewGoneError(errors.New("compacted"))
	held := mark("configmaps", "ConfigMap", "9")
	held.Seen = "30"
	k.take(7, []state.Mark{held}, "configmaps")
	require.Equal(t, []string{"a/x 5→12"}, k.queued())
}
