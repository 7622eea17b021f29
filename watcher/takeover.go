package watcher

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/lease"
	"github.com/kwatchman/kwatchman/watcher/metrics"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/source"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// loading bounds the lists of a takeover that are under way at once.
const loading = 4

// takeover makes a state what the leader before knew: for each watch the objects
// as they were at its watermark, up to which all changes are acknowledged.
type takeover struct {
	*follower // of the run that begins
	began     time.Time

	mu   sync.Mutex
	kept map[client.Place]state.Watch // what the run begins with
	own  map[client.Place]span        // of what waits here, what is still to be sent
}

// span is what is after one version and not after another; empty: without end.
type span struct{ after, upTo string }

// run takes over for a term. Whatever cannot be taken over is said and counted.
func (t *takeover) run(ctx context.Context, term *lease.Term) error {
	defer t.state.SetEpoch(term.Epoch)
	found := &state.Marks{}
	if term.Found != "" {
		var err error
		if found, err = state.ParseMarks(term.Found, t.zip); err != nil {
			t.fallBack("", "", err, t.alone())
			found = &state.Marks{}
		}
	}
	own := t.state.Epoch() >= 0 && t.state.Epoch() == term.Epoch-1
	if term.Found == "" && term.Before && !own {
		t.fallBack("", "", errors.New("the Lease has no watermarks: they were removed, or nobody led for long enough to write them"), t.alone())
	}
	if own || len(found.Watches) == 0 {
		t.state.Follow(found)
		if own {
			t.log.Info("nobody has led meanwhile, going on with the state as it is", "epoch", term.Epoch)
		}
		return nil
	}
	if t.state.Durable() {
		if err := t.state.Doubt(); err != nil {
			return err
		}
	}
	t.kept, t.own = map[client.Place]state.Watch{}, map[client.Place]span{}
	before, _ := t.state.Kept()
	for _, w := range before {
		t.kept[w.Place()] = w
	}
	if err := t.load(ctx, found.Watches); err != nil {
		return err
	}
	var watches []state.Watch
	for _, w := range t.kept {
		watches = append(watches, w)
	}
	if err := t.state.Adopt(watches, found.Since, t.wanted); err != nil {
		return err
	}
	t.state.Follow(found)
	t.tookOver = true
	t.log.Info("taken over", "epoch", term.Epoch, "watches", len(found.Watches), "took", time.Since(t.began).Round(time.Millisecond).String())
	return nil
}

// alone is what there is to compare with where nothing is taken over.
func (t *takeover) alone() string {
	if watches, _ := t.state.Kept(); len(watches) > 0 {
		return metrics.FromState
	}
	return metrics.FromBaseline
}

// load lists the objects of all watches.
func (t *takeover) load(ctx context.Context, marks []state.Mark) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, loading)
	var lists sync.WaitGroup
	for _, m := range marks {
		slots <- struct{}{}
		lists.Go(func() {
			defer func() { <-slots }()
			if err := t.loadOne(ctx, m); err != nil {
				cancel(err)
			}
		})
	}
	lists.Wait()
	return context.Cause(ctx)
}

// loadOne lists the objects of a watch in the version that it has, or in the one
// that is served now.
func (t *takeover) loadOne(ctx context.Context, m state.Mark) error {
	w := m.Watch
	resource, ok := t.resource(w)
	if !ok {
		t.notLoaded(m, errors.New("the resource is not served"), false)
		return nil
	}
	w.Resource, w.Kind = resource.GroupVersionResource, resource.Kind
	replaced := false
	err := t.list(ctx, w, &replaced)
	gone, ok := errors.AsType[*source.GoneError](err)
	if ok && m.Seen != "" {
		w.Version = m.Seen
		if err = t.list(ctx, w, &replaced); err == nil {
			t.fallBack(w.Place().String(), w.Namespace, gone, metrics.FromSeen)
		}
	}
	if again, ok := errors.AsType[*source.GoneError](err); ok {
		t.notLoaded(m, again, replaced)
		return nil
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept[w.Place()] = w
	t.own[w.Place()] = span{m.Version, w.Version} // what is later comes again
	if gone == nil {
		t.metrics.TakenOver(metrics.FromWatermark)
	}
	return nil
}

// list makes the objects of a watch those of its version; replaced tells that some
// of them are.
func (t *takeover) list(ctx context.Context, w state.Watch, replaced *bool) error {
	return source.Load(ctx, source.Config{
		Client: t.api.REST, Scope: state.Scope{Cluster: t.cfg.ClusterName, Resource: w.Resource, Kind: w.Kind},
		Watch: w, State: t.state, FieldSelector: leftOut(w.Exclude, w.Fields, w.Namespaced),
		Own: t.ownAt(w.Place()), Redactor: t.redactor, Compressor: t.zip, NotServed: func() {}, Metrics: t.metrics, Logger: t.log,
	}, func(objects []*object.Object, first bool) error {
		*replaced = true
		return t.state.Replace(w, objects, !first)
	})
}

// resource is what a watch of before lists now.
func (t *takeover) resource(w state.Watch) (client.Resource, bool) {
	var other client.Resource
	found := false
	for _, r := range t.served.Resources {
		switch {
		case r.GroupVersionResource == w.Resource:
			return r, true
		case r.GroupResource() == w.Resource.GroupResource() && !found:
			other, found = r, true
		}
	}
	return other, found
}

// notLoaded falls back to what this watcher knows by itself, or to a baseline:
// then only objects that were created since then are changes.
func (t *takeover) notLoaded(m state.Mark, why error, replaced bool) {
	place := m.Place()
	t.mu.Lock()
	from := metrics.FromState
	if _, own := t.kept[place]; !own || replaced {
		w := m.Watch
		w.Version, w.All, w.But, w.Only, w.Old = "", false, nil, nil, m.At
		t.kept[place], from = w, metrics.FromBaseline
	}
	t.own[place] = span{after: m.Version}
	t.mu.Unlock()
	t.fallBack(place.String(), place.Namespace, why, from)
}

// comparedWith says in words what a takeover falls back to.
var comparedWith = map[string]string{
	metrics.FromSeen:     "what the leader before saw last, and what waited there is not told",
	metrics.FromState:    "what this watcher saw last",
	metrics.FromBaseline: "a baseline",
}

// fallBack says and counts that something is not taken over from its watermark.
func (t *takeover) fallBack(resource, namespace string, why error, from string) {
	t.metrics.TakenOver(from)
	t.log.Error("the state that the leader before has left cannot be read: some changes since then may be missing",
		"resource", resource, "namespace", namespace, "comparedWith", comparedWith[from], "error", why)
}

// wanted tells whether a change that waits here is still to be sent: not if it was
// acknowledged by another leader, or comes again from what was taken over.
func (t *takeover) wanted(place client.Place, version string) bool {
	for _, p := range []client.Place{place, {GroupResource: place.GroupResource}} {
		if s, ok := t.own[p]; ok {
			return later(version, s.after) && (s.upTo == "" || !later(version, s.upTo))
		}
	}
	return true
}

// later tells whether a version comes after another one; of what cannot be
// compared, that it does.
func later(version, than string) bool {
	c, err := resourceversion.CompareResourceVersion(version, than)
	return err != nil || c > 0
}
