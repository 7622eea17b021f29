package watcher

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/plan"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// startPosition is where a source of the start goes on.
type startPosition struct {
	watch    state.Watch
	resource client.Resource
	// listAt is the version to list the objects at, if watch has none; empty: the
	// newest.
	listAt string
}

// known is what a start knows of the runs before.
type known struct {
	watches  []state.Watch
	since    state.Since
	tookOver bool // from another leader, seconds ago
}

// prepare works out where the sources of the start go on, from what is served and
// what an earlier run left, and records it. behind tells of the places that the
// pipeline before could not follow at its end; nil: there was none just now.
func (f *sources) prepare(ctx context.Context, behind map[client.Place]bool) error {
	watches, since := f.state.Kept()
	before := known{watches: watches, since: since, tookOver: f.tookOver}
	f.since = sinceOf(f.cfg, since, f.served.Time.Unix())
	f.begin = f.startPositions(f.plan(), before)
	var begin []state.Watch
	for _, p := range f.begin {
		begin = append(begin, p.watch)
		if p.watch.Forget {
			f.log.Warn("the selectors have changed: objects that are new to them are the baseline, and those that left are forgotten",
				"resource", p.watch.Place().String(), "namespace", p.watch.Namespace)
		}
	}
	if len(watches) > 0 || f.tookOver {
		f.logNew(begin, watches)
	}
	for _, w := range watches {
		f.logForgotten(&w, begin, behind == nil || behind[w.Place()])
	}
	return f.state.Start(ctx, begin, f.since)
}

// sinceOf says since when the names of the configuration are followed: those that
// are new, since now.
func sinceOf(cfg *config.Config, before state.Since, now int64) state.Since {
	out := state.Since{}
	for _, name := range configured(cfg) {
		if at, ok := before[name]; ok {
			out[name] = at
		} else {
			out[name] = now
		}
	}
	return out
}

// startPositions works out where the sources of the start go on. It asks nobody and
// changes nothing.
func (f *sources) startPositions(p *plan.Plan, before known) []startPosition {
	var out []startPosition
	places := map[client.Place]bool{}
	add := func(p startPosition) {
		out = append(out, p)
		places[p.watch.Place()] = true
	}
	for _, place := range p.Sorted() {
		entry := p.Places[place]
		w := f.newWatch(place, entry)
		if _, ok := before.since[nameOf(&w)]; !ok && f.cfg.Initial != "emit" {
			w.Old = state.Always // its name is new
		}
		w = w.Adopt(before.watches)
		listAt := ""
		if before.tookOver && w.Version == "" {
			listAt = newest(before.watches, &w)
		}
		add(startPosition{w, entry.Resource, listAt})
	}
	for _, k := range before.watches {
		if _, ok := f.since[nameOf(&k)]; ok && !places[k.Place()] && !f.serves(k.Resource.GroupResource()) {
			// It went while nobody looked, or will come back: its source finds out.
			add(startPosition{watch: k, resource: client.Resource{GroupVersionResource: k.Resource, Kind: k.Kind, Namespaced: k.Namespaced}})
		}
	}
	return out
}

// newest is the newest version that something of a watch was followed to. A list
// of then is no older than what was seen, and what comes after it can be watched.
func newest(kept []state.Watch, w *state.Watch) (version string) {
	for _, k := range kept {
		if k.Overlaps(w) && k.Version != "" && (version == "" || state.Later(k.Version, version)) {
			version = k.Version
		}
	}
	return version
}

// logNew says of what nothing was seen before: what exists of it is the baseline.
// Another leader may have begun to watch it and have ended before it could say so in
// the Lease.
func (f *sources) logNew(begin, before []state.Watch) {
	for _, w := range begin {
		if w.Old != state.Never && !slices.ContainsFunc(before, func(k state.Watch) bool { return k.Overlaps(&w) }) {
			f.log.Info("watched for the first time: what exists is the baseline", "resource", w.Place().String(), "namespace", w.Namespace)
		}
	}
}

// forgotten is the line about a watch, or a part of one, that nothing of the
// configuration goes on with.
const forgotten = "no longer watched, what was seen is forgotten"

// logForgotten says that nothing of the configuration goes on with a watch, or
// with all of it. What happened while nobody could follow it was not seen, which is
// a warning.
func (f *sources) logForgotten(k *state.Watch, begin []state.Watch, behind bool) {
	attrs := []any{"resource", k.Place().String(), "namespace", k.Namespace}
	goesOn := func(w state.Watch) bool { return w.Overlaps(k) && k.Within(&w) }
	switch {
	case slices.ContainsFunc(begin, goesOn):
	case behind:
		f.log.Warn(forgotten, append(attrs, "missing", "what happened since version "+k.Version)...)
	case !slices.ContainsFunc(begin, func(w state.Watch) bool { return w.Overlaps(k) }):
		f.log.Info(forgotten, attrs...)
	}
}

// followed is the version that each place is, or was, followed in.
func followed(st *state.State) map[client.Place]schema.GroupVersionResource {
	out := map[client.Place]schema.GroupVersionResource{}
	kept, _ := st.Kept()
	for _, k := range kept {
		out[k.Place()] = k.Resource
	}
	return out
}

// plan is what a pipeline watches, as far as it is served when it begins.
func (f *sources) plan() *plan.Plan {
	return plan.Of(f.cfg, f.served, followed(f.state))
}

// newWatch is that of a place of which nothing was seen.
func (f *sources) newWatch(place client.Place, entry plan.Entry) state.Watch {
	w := state.Watch{
		Name: entry.Name, Resource: entry.Resource.GroupVersionResource, Kind: entry.Resource.Kind,
		Namespaced: entry.Resource.Namespaced, Namespace: place.Namespace,
		Labels: entry.LabelSelector, Fields: entry.FieldSelector,
	}
	if w.Namespaced && w.Namespace == "" {
		w.Exclude = f.cfg.ExcludeNamespaces
	}
	switch {
	case f.cfg.Initial == "emit", f.gone[place]: // its objects are known to nobody, or no longer
		w.Old = state.Never
	default: // it may hold objects that are older than its being served to us
		w.Old = f.since[nameOf(&w)]
	}
	return w
}

// serves tells whether the API server says that it serves a resource.
func (f *sources) serves(r schema.GroupResource) bool {
	return slices.ContainsFunc(f.served.Resources, func(s client.Resource) bool { return s.GroupResource() == r })
}

// wholeCluster stands for the namespace of what has none.
const wholeCluster = "/"

// configured lists what the configuration names, in each of its namespaces.
func configured(cfg *config.Config) []state.Name {
	var out []state.Name
	for _, r := range cfg.Watched {
		out = append(out, state.Name{Name: r.Name, Namespace: wholeCluster})
		for _, ns := range cfg.NamespacesOf(r) {
			out = append(out, state.Name{Name: r.Name, Namespace: ns})
		}
	}
	return out
}

// nameOf is the entry of the configuration that a watch comes from.
func nameOf(w *state.Watch) state.Name {
	if !w.Namespaced {
		return state.Name{Name: w.Name, Namespace: wholeCluster}
	}
	return state.Name{Name: w.Name, Namespace: w.Namespace}
}
