package watcher

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/lease"
	"github.com/kwatchman/kwatchman/watcher/metrics"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/plan"
	"github.com/kwatchman/kwatchman/watcher/source"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// sources runs a source for each place of the plan and changes them as the API
// server serves more, less or other versions. All its state but initialSync and
// alive belongs to the goroutine of follow.
type sources struct {
	cfg      *config.Config
	log      *slog.Logger
	api      *client.Client
	redactor *object.Redactor
	codec    *object.Compressor
	state    *state.State
	metrics  *metrics.Metrics

	own string // the key of the Lease of this watcher, if there is one

	begin    []startPosition // where the sources of the start go on
	tookOver bool            // from another leader, seconds ago
	started  bool            // the sources of the start are launched

	served      *client.Discovery
	since       state.Since // what is older than its name's entry is the baseline
	running     map[client.Place]*running
	gone        map[client.Place]bool // their objects were reported as deleted
	awaited     map[string]bool       // names that nothing is served for; it has been said
	failing     bool                  // discovery fails; it has been said
	trouble     chan struct{}         // a source does not find its resource
	initialSync initialSync

	watches sync.Mutex // guards alive, which health asks
	alive   map[*running]bool
}

// stuck is the first source that can be taken for stuck.
func (f *sources) stuck(now time.Time) string {
	f.watches.Lock()
	defer f.watches.Unlock()
	for r := range f.alive {
		if trouble := r.Stuck(now); trouble != "" {
			return trouble
		}
	}
	return ""
}

// live notes that a source runs, or has ended.
func (f *sources) live(r *running, runs bool) {
	f.watches.Lock()
	defer f.watches.Unlock()
	if f.alive == nil {
		f.alive = map[*running]bool{}
	}
	if runs {
		f.alive[r] = true
	} else {
		delete(f.alive, r)
	}
}

// running is a source at work.
type running struct {
	*source.Source
	resource client.Resource
	absent   time.Time // since then the resource is not served
	done     chan struct{}
}

const (
	// lookEvery is how often the API server is asked what it serves while
	// something is awaited that may appear at any time.
	lookEvery = 5 * time.Second
	// lookAgain is the least time between two looks.
	lookAgain = time.Second
	// goneAfter is how long a resource has to be absent to count as gone.
	goneAfter = 5 * time.Second
)

// follow runs until whole ends or a source of the start cannot do its work, whose
// error it returns. All sources have ended when it returns.
func (f *sources) follow(whole context.Context) error {
	ctx, cancel := context.WithCancelCause(whole)
	defer f.wait()
	defer cancel(nil)
	for _, p := range f.begin {
		f.launch(ctx, cancel, p.watch, p.resource, p.listAt, nil)
	}
	f.apply(ctx, cancel)
	f.started = true
	f.initialSync.arm()
	look := time.NewTimer(lookEvery)
	defer look.Stop()
	looked := time.Now()
	for {
		select {
		case <-ctx.Done():
			if whole.Err() != nil {
				return nil
			}
			return context.Cause(ctx)
		case <-f.trouble:
			look.Reset(max(0, lookAgain-time.Since(looked)))
		case <-look.C:
			looked = time.Now()
			f.look(ctx, cancel)
			if f.watchful() {
				look.Reset(lookEvery)
			}
		}
	}
}

// watchful tells whether something may appear or be gone that no source would
// notice.
func (f *sources) watchful() bool {
	return f.failing || f.absent() || len(f.awaited) > 0 || slices.ContainsFunc(f.cfg.Watched, func(r config.Resource) bool { return r.Name == config.All })
}

// absent tells whether a source's resource is not served, which may last.
func (f *sources) absent() bool {
	for _, r := range f.running {
		if !r.absent.IsZero() {
			return true
		}
	}
	return false
}

// look asks what is served and follows it.
func (f *sources) look(ctx context.Context, end context.CancelCauseFunc) {
	served, err := f.api.Discover(ctx, f.served)
	if err != nil {
		if !f.failing && ctx.Err() == nil {
			f.log.Warn("discovery fails, trying again", "error", err)
		}
		f.failing = true
		return
	}
	if f.failing {
		f.log.Info("discovery works again")
	}
	f.served, f.failing = served, false
	if !served.Unchanged || f.absent() {
		f.apply(ctx, end)
	}
}

// apply makes the sources what the plan says of what is served; end is called
// with the error of a source that cannot go on.
func (f *sources) apply(ctx context.Context, end context.CancelCauseFunc) {
	p := plan.Of(f.cfg, f.served, f.current())
	f.say(p)
	for place, r := range f.running {
		if _, ok := p.Places[place]; ok || slices.Contains(f.served.Stale, place.Group) {
			r.absent = time.Time{}
		} else if err := f.missing(ctx, place, r); err != nil {
			end(err)
		}
	}
	for _, place := range p.Sorted() {
		entry, r := p.Places[place], f.running[place]
		switch {
		case r == nil:
			f.log.Info("resource is served now", "resource", place.String(), "namespace", place.Namespace)
			f.launch(ctx, end, f.newWatch(place, entry), entry.Resource, "", nil)
			delete(f.gone, place)
		case r.resource.Kind != entry.Resource.Kind: // with the version, or by itself if the resource was defined anew
			f.log.Info("served version changed", "resource", place.String(), "namespace", place.Namespace,
				"from", r.resource.Version, "to", entry.Resource.Version)
			f.halt(r)
			w := r.Watch()
			w.Resource, w.Kind, w.Version = entry.Resource.GroupVersionResource, entry.Resource.Kind, ""
			f.launch(ctx, end, w, entry.Resource, "", r)
		}
	}
}

// say reports, once, what the plan has no source for.
func (f *sources) say(p *plan.Plan) {
	awaited := map[string]bool{}
	for _, m := range p.Missing {
		awaited[m.Name] = true
		if f.awaited[m.Name] {
			continue
		}
		attrs := []any{"resource", m.Name}
		if m.Near != "" {
			attrs = append(attrs, "similar", m.Near)
		}
		f.log.Warn("resource is not served, waiting for it", attrs...)
	}
	f.awaited = awaited
}

// servedNow is what a watch of before lists now, in its version if that is served.
func (f *sources) servedNow(w state.Watch) (client.Resource, bool) {
	var other client.Resource
	found := false
	for _, r := range f.served.Resources {
		switch {
		case r.GroupVersionResource == w.Resource:
			return r, true
		case r.GroupResource() == w.Resource.GroupResource() && !found:
			other, found = r, true
		}
	}
	return other, found
}

// partsOf are what a plan goes on with of a watch of before: all of it, or some of
// its namespaces. What is not served now may be again.
func (f *sources) partsOf(places map[client.Place]plan.Entry, w state.Watch) []state.Watch {
	var out []state.Watch
	for place, entry := range places {
		switch n := f.newWatch(place, entry); {
		case !n.Overlaps(&w):
		case w.Namespace == "" && place.Namespace != "":
			part := w
			part.Namespace, part.Exclude = place.Namespace, nil
			out = append(out, part)
		default:
			return []state.Watch{w}
		}
	}
	if _, served := f.servedNow(w); len(out) == 0 && !served && slices.Contains(configured(f.cfg), nameOf(&w)) {
		return []state.Watch{w}
	}
	return out
}

// behind are the places whose sources cannot follow the API server at the moment.
func (f *sources) behind() map[client.Place]bool {
	out := map[client.Place]bool{}
	for place, r := range f.running {
		if r.Behind() {
			out[place] = true
		}
	}
	return out
}

// named are the resources that have a source, as metrics call them.
func (f *sources) named() map[string]bool {
	out := map[string]bool{}
	for _, p := range f.begin {
		out[p.watch.Place().String()] = true
	}
	for place := range f.running {
		out[place.String()] = true
	}
	return out
}

// current is the version that each place is followed in.
func (f *sources) current() map[client.Place]schema.GroupVersionResource {
	out := map[client.Place]schema.GroupVersionResource{}
	for place, r := range f.running {
		out[place] = r.resource.GroupVersionResource
	}
	return out
}

// missing ends a source whose resource stays absent. What it had seen is
// deleted with the resource.
func (f *sources) missing(ctx context.Context, place client.Place, r *running) error {
	if r.absent.IsZero() {
		r.absent = time.Now()
	}
	// An API server that starts serves no complete discovery, but it answers 503
	// and not 404 until it knows all its resources.
	err := f.api.TryList(ctx, r.resource, place.Namespace, "", "")
	if time.Since(r.absent) < goneAfter || !apierrors.IsNotFound(err) {
		return nil
	}
	f.halt(r)
	f.log.Info("resource is not served any more", "resource", place.String(), "namespace", place.Namespace)
	if err := r.Gone(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	delete(f.running, place)
	f.gone[place] = true
	f.initialSync.done(r)
	return nil
}

// launch starts a source; listAt is the version to list it at, if it has none;
// before, if not nil, is the one that it takes over from.
func (f *sources) launch(ctx context.Context, end context.CancelCauseFunc, w state.Watch, resource client.Resource, listAt string, before *running) {
	place := w.Place()
	r := &running{resource: resource, done: make(chan struct{})}
	r.Source = source.New(source.Config{
		Client: f.api.REST,
		Scope: state.Scope{
			Cluster: f.cfg.ClusterName, Resource: w.Resource, Kind: w.Kind, SkipNoise: f.cfg.SkipNoise,
		},
		Watch: w, ListAt: listAt, State: f.state, Apply: f.applier(place), FieldSelector: fieldSelector(f.cfg, w.Fields, w.Namespaced),
		Own:      f.ownAt(place),
		RetryAll: f.started || !f.serves(place.GroupResource), Redactor: f.redactor, Compressor: f.codec,
		Synced:    func() { f.initialSync.done(r) },
		NotServed: f.notServed,
		Metrics:   f.metrics,
		Logger:    f.log,
	})
	f.running[place] = r
	f.initialSync.add(r)
	if before != nil {
		f.initialSync.done(before)
	}
	f.live(r, true)
	go func() {
		defer close(r.done)
		defer f.live(r, false)
		if err := r.Run(ctx); err != nil {
			end(err)
		}
	}()
}

// ownAt is the key of what this watcher itself writes at a place.
func (f *sources) ownAt(place client.Place) string {
	if place.GroupResource == lease.Resource {
		return f.own
	}
	return ""
}

// applier records what a source sees. Where definitions of resources are
// watched anyway, a change of one asks to look.
func (f *sources) applier(place client.Place) func(context.Context, *state.Tx) error {
	if place.GroupResource != definitions {
		return f.state.Apply
	}
	return func(ctx context.Context, t *state.Tx) error {
		if len(t.Changes()) > 0 {
			f.notServed()
		}
		return f.state.Apply(ctx, t)
	}
}

var definitions = schema.GroupResource{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}

// notServed asks follow to look soon.
func (f *sources) notServed() {
	select {
	case f.trouble <- struct{}{}:
	default: // it is known
	}
}

// halt ends a source. Its last changes may wait for the queue meanwhile.
func (f *sources) halt(r *running) {
	r.Stop()
	<-r.done
}

// wait ends with the last source.
func (f *sources) wait() {
	for _, r := range f.running {
		<-r.done
	}
}

// fieldSelector adds the namespaces to leave out, which only the API server can
// tell apart before they cost anything.
func fieldSelector(cfg *config.Config, own string, namespaced bool) string {
	return leftOut(cfg.ExcludeNamespaces, own, namespaced)
}

func leftOut(namespaces []string, own string, namespaced bool) string {
	var parts []string
	if own != "" {
		parts = append(parts, own)
	}
	if namespaced {
		for _, ns := range namespaces {
			parts = append(parts, "metadata.namespace!="+ns)
		}
	}
	return strings.Join(parts, ",")
}
