package watcher

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/lease"
	"github.com/kwatchman/kwatchman/watcher/metrics"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/source"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// pastReader reads what a resource was; see source.Past.
type pastReader interface {
	Objects(ctx context.Context, version string, each func(objects []*object.Object, first bool) error) error
	States(ctx context.Context, namespace, name, from string, deleted []string, to string) (states []*object.Object, whole bool, err error)
}

// takeover makes a state what the leader before knew: for each watch the objects
// as they were at its watermark, and in the queue the changes that were not
// acknowledged. After it, the start is one like any other.
//
// The Lease alone says what that is. What this watcher has in a state of its own
// counts only if nobody has led meanwhile; else only its changes that the Lease
// names as waiting do.
type takeover struct {
	state *state.State
	codec *object.Compressor
	// past reads the past of a watch.
	past func(w state.Watch) pastReader
	// served is what a watch lists now; false: nothing is served for it.
	served func(w state.Watch) (client.Resource, bool)
	// parts are what this watcher goes on with of a watch: all of it, some of its
	// namespaces, or nothing.
	parts   func(w state.Watch) []state.Watch
	scope   func(w state.Watch) state.Scope
	metrics *metrics.Metrics
	log     *slog.Logger

	own map[waitingKey][]*state.Queued // changes that wait here, of each object in order

	mu   sync.Mutex // guards what follows, while several marks are read at once
	kept []state.Watch
	owed []state.Owed
	told map[*state.Queued]bool // of own, that are still to be told
}

// waitingKey names an object of a resource.
type waitingKey struct{ resource, key string }

// loading bounds the lists of a takeover that are under way at once.
const loading = 4

// newTakeover is the takeover of the sources that a leadership begins with.
func newTakeover(s *sources) *takeover {
	places := s.plan().Places
	t := &takeover{state: s.state, codec: s.codec, served: s.servedNow, metrics: s.metrics, log: s.log}
	t.parts = func(w state.Watch) []state.Watch { return s.partsOf(places, w) }
	t.scope = func(w state.Watch) state.Scope {
		return state.Scope{Cluster: s.cfg.ClusterName, Resource: w.Resource, Kind: w.Kind, SkipNoise: s.cfg.SkipNoise}
	}
	t.past = func(w state.Watch) pastReader {
		return source.NewPast(source.Config{
			Client: s.api.REST, Scope: t.scope(w), Watch: w, State: s.state,
			FieldSelector: leftOut(w.Exclude, w.Fields, w.Namespaced), Own: s.ownAt(w.Place()),
			Redactor: s.redactor, Compressor: s.codec, NotServed: func() {}, Metrics: s.metrics, Logger: s.log,
		})
	}
	return t
}

// run takes over, and tells whether anything was. Whatever cannot be taken over is
// logged and counted.
func (t *takeover) run(ctx context.Context, term *lease.Term) (tookOver bool, err error) {
	began := time.Now()
	defer t.state.SetEpoch(term.Epoch)
	found, err := t.read(term)
	if err != nil {
		t.fallBack("", "", err, t.alone())
		found = &state.Marks{}
	}
	if own := t.state.Epoch() >= 0 && t.state.Epoch() == term.Epoch-1; own || len(found.Watches) == 0 {
		if own {
			t.log.Info("nobody has led meanwhile, going on with the state as it is", "epoch", term.Epoch)
		}
		t.state.Follow(found, t.stillOwed(found))
		return false, nil
	}
	if err := t.state.Disown(ctx); err != nil {
		return false, err
	}
	if err := t.seed(ctx, found); err != nil {
		return false, err
	}
	t.log.Info("taken over", "epoch", term.Epoch, "watches", len(found.Watches), "waiting", t.state.Waiting(),
		"took", time.Since(began).Round(time.Millisecond).String())
	return true, nil
}

// read gives what the leader before has left. That there was one, and that it has
// left nothing, is an error, too.
func (t *takeover) read(term *lease.Term) (*state.Marks, error) {
	found := &state.Marks{}
	if term.Found != "" {
		var err error
		if found, err = state.ParseMarks(term.Found, t.codec); err != nil {
			return nil, err
		}
	}
	if len(found.Watches) == 0 && term.Before && t.state.Epoch() != term.Epoch-1 {
		return nil, errors.New("the Lease has no watermarks: they were removed, or nobody led for long enough to write them")
	}
	return found, nil
}

// alone is what there is to compare with where nothing is taken over.
func (t *takeover) alone() string {
	if watches, _ := t.state.Kept(); len(watches) > 0 {
		return metrics.FromState
	}
	return metrics.FromBaseline
}

// seed fills the state from marks.
func (t *takeover) seed(ctx context.Context, found *state.Marks) error {
	t.own, t.told = map[waitingKey][]*state.Queued{}, map[*state.Queued]bool{}
	for _, q := range t.state.Queue() {
		k := waitingKey{q.Resource().String(), q.Key()}
		t.own[k] = append(t.own[k], q)
	}
	wholes, parts := t.areas(found.Watches)
	for _, areas := range [][]area{wholes, parts} {
		if err := t.each(ctx, areas, t.load); err != nil {
			return err
		}
	}
	for _, m := range found.Watches { // one after the other: an object may be in two of them
		if err := t.queue(ctx, m); err != nil {
			return err
		}
	}
	own := map[*state.Queued]bool{}
	for _, queued := range t.own {
		for _, q := range queued {
			own[q] = true
		}
	}
	if err := t.state.Discard(ctx, func(q *state.Queued) bool { return own[q] && !t.told[q] }); err != nil {
		return err
	}
	t.state.Adopt(t.kept, found.Since)
	t.state.Follow(found, t.owed)
	return nil
}

// each calls of for all areas, several at once.
func (t *takeover) each(ctx context.Context, areas []area, of func(context.Context, area) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, loading)
	var all sync.WaitGroup
	for _, a := range areas {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := of(ctx, a); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// area is a mark, narrowed to a part of it that this watcher goes on with.
type area struct {
	state.Mark
	// mixed tells that some of its namespaces have marks of their own, which are newer:
	// a reload was under way. It cannot be watched from one version, but listed.
	mixed bool
}

// areas are those of all namespaces, and those of one, which go over them. What the
// configuration has no more of is in none: the permission may be gone, too.
func (t *takeover) areas(marks []state.Mark) (wholes, parts []area) {
	at := map[client.Place]area{}
	for _, m := range marks {
		if m.Ended {
			continue
		}
		for _, part := range t.parts(m.Watch) {
			narrowed := area{Mark: m}
			narrowed.Watch = part
			if _, twice := at[part.Place()]; !twice || m.Namespace != "" {
				at[part.Place()] = narrowed
			}
		}
	}
	for place, a := range at {
		if place.Namespace != "" {
			parts = append(parts, a)
			continue
		}
		for other := range at {
			a.mixed = a.mixed || other != place && other.GroupResource == place.GroupResource
		}
		wholes = append(wholes, a)
	}
	return wholes, parts
}

// load lists the objects of an area as they were at its watermark, in the version of
// the resource that the watch has, or in the one that is served now.
func (t *takeover) load(ctx context.Context, a area) error {
	m, w := a.Mark, a.Watch
	resource, ok := t.served(w)
	if !ok {
		return t.baseline(ctx, m, errors.New("the resource is not served"))
	}
	w.Resource, w.Kind = resource.GroupVersionResource, resource.Kind
	err := t.list(ctx, w)
	from := metrics.FromWatermark
	gone, ok := errors.AsType[*source.GoneError](err)
	if ok && m.Seen != "" {
		w.Version, from = m.Seen, metrics.FromSeen
		err = t.list(ctx, w)
	}
	if again, ok := errors.AsType[*source.GoneError](err); ok {
		return t.baseline(ctx, m, again)
	}
	if err != nil {
		return err
	}
	if gone != nil {
		t.keepOwn(m)
		t.fallBack(w.Place().String(), w.Namespace, gone, from)
	} else {
		t.metrics.TakenOver(from)
	}
	if a.mixed {
		w.Version = ""
	}
	t.keep(w)
	return nil
}

// list makes the objects of a watch those of its version.
func (t *takeover) list(ctx context.Context, w state.Watch) error {
	return t.past(w).Objects(ctx, w.Version, func(objects []*object.Object, first bool) error {
		return t.state.Replace(ctx, w, objects, !first)
	})
}

// baseline is what is left where the watermark cannot be listed: only objects that
// were created since then are changes.
func (t *takeover) baseline(ctx context.Context, m state.Mark, why error) error {
	if err := t.state.Replace(ctx, m.Watch, nil, false); err != nil {
		return err
	}
	if m.Seen != "" {
		t.keepOwn(m)
	}
	w := m.Watch
	w.Version, w.All, w.But, w.Only, w.Old, w.BaselineVersion = "", false, nil, nil, m.At, m.Version
	t.keep(w)
	t.fallBack(w.Place().String(), w.Namespace, why, metrics.FromBaseline)
	return nil
}

// keepOwn keeps what waits here behind a mark that was held back and cannot be read:
// too much waited for it to name, so it may not have been told. What was is told
// once more, with the same id.
func (t *takeover) keepOwn(m state.Mark) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, queued := range t.own {
		namespace, _, _ := strings.Cut(key.key, "/")
		of := m.Watch
		of.Namespace = namespace
		if key.resource != m.Place().String() || !m.Overlaps(&of) {
			continue
		}
		for _, q := range queued {
			if state.Later(cmp.Or(q.To(), q.From()), m.Version) {
				t.told[q] = true
			}
		}
	}
}

func (t *takeover) keep(w state.Watch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, w)
}

// queue queues the changes of a mark's objects that wait, and says what cannot be.
func (t *takeover) queue(ctx context.Context, m state.Mark) error {
	w := m.Watch
	if resource, ok := t.served(w); ok {
		w.Resource, w.Kind = resource.GroupVersionResource, resource.Kind
	}
	q := &waitingReader{takeover: t, watch: w}
	if len(m.Waiting) > 0 {
		q.past, q.seen = t.past(w), t.state.Seen(w, t.scope(w))
	}
	for _, o := range m.Waiting {
		if err := q.take(ctx, o); err != nil {
			return err
		}
	}
	attrs := []any{"resource", w.Place().String(), "namespace", w.Namespace}
	switch {
	case q.unread+q.merged > 0:
		t.log.Error("changes that waited at the leader before cannot be read: they are not told, or merged into one",
			append(attrs, "objects", q.unread, "merged", q.merged, "first", q.first, "error", q.why)...)
	case !m.Ended && !slices.ContainsFunc(t.parts(m.Watch), func(part state.Watch) bool { return m.Within(&part) }):
		t.log.Warn(forgotten, append(attrs, "missing", "what happened since version "+m.Version)...)
	}
	return nil
}

// stillOwed is what marks name as owed and is not in the queue. What else they name
// as waiting was acknowledged since they were written.
func (t *takeover) stillOwed(found *state.Marks) (owed []state.Owed) {
	queued := map[waitingKey]bool{}
	for _, q := range t.state.Queue() {
		queued[waitingKey{q.Resource().String(), q.Key()}] = true
	}
	for _, m := range found.Watches {
		for _, o := range m.Waiting {
			if o.Owed && !queued[waitingKey{m.Place().String(), o.Key}] {
				owed = append(owed, state.Owed{Watch: m.Watch, WaitingObject: o})
			}
		}
	}
	return owed
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
