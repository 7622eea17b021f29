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

// prepare works out where the sources of the start go on, from what is served and
// what an earlier run left, and records it.
func (f *follower) prepare(ctx context.Context) error {
	p := f.plan()
	kept, since := f.state.Kept()
	f.since = state.Since{}
	for _, name := range configured(f.cfg) {
		if at, ok := since[name]; ok {
			f.since[name] = at
		} else {
			f.since[name] = f.served.Time.Unix()
		}
	}
	f.resources, f.from = map[client.Place]client.Resource{}, map[client.Place]string{}
	for _, place := range p.Sorted() {
		entry := p.Places[place]
		w := f.newWatch(place, entry)
		if _, ok := since[nameOf(&w)]; !ok && f.cfg.Initial != "emit" {
			w.Old = state.Always // its name is new
		}
		w = w.Adopt(kept)
		if f.tookOver && w.Version == "" {
			f.from[place] = newest(kept, &w)
		}
		f.add(w, entry.Resource)
	}
	for _, k := range kept {
		if _, ok := f.resources[k.Place()]; ok {
			continue
		}
		if _, ok := f.since[nameOf(&k)]; ok && !f.serves(k.Resource.GroupResource()) {
			// It went while nobody looked, or will come back: its source finds out.
			f.add(k, client.Resource{GroupVersionResource: k.Resource, Kind: k.Kind, Namespaced: k.Namespaced})
			continue
		}
		f.sayForgotten(&k)
	}
	return f.state.Start(ctx, f.begin, f.since)
}

// newest is the newest version that something of a watch was followed to. A list
// of then is no older than what was seen, and what comes after it can be watched.
func newest(kept []state.Watch, w *state.Watch) (version string) {
	for _, k := range kept {
		if k.Overlaps(w) && k.Version != "" && (version == "" || later(k.Version, version)) {
			version = k.Version
		}
	}
	return version
}

func (f *follower) add(w state.Watch, r client.Resource) {
	if w.Forget {
		f.log.Warn("the selectors have changed: objects that are new to them are the baseline, and those that left are forgotten",
			"resource", w.Place().String(), "namespace", w.Namespace)
	}
	f.begin = append(f.begin, w)
	f.resources[w.Place()] = r
}

// sayForgotten reports a watch that nothing of the configuration goes on with.
func (f *follower) sayForgotten(k *state.Watch) {
	if !slices.ContainsFunc(f.begin, func(w state.Watch) bool { return w.Overlaps(k) }) {
		f.log.Info("no longer watched, what was seen is forgotten", "resource", k.Place().String(), "namespace", k.Namespace)
	}
}

// newWatch is that of a place of which nothing was seen.
func (f *follower) newWatch(place client.Place, entry plan.Entry) state.Watch {
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
		delete(f.gone, place)
	default: // it may hold objects that are older than its being served to us
		w.Old = f.since[nameOf(&w)]
	}
	return w
}

// serves tells whether the API server says that it serves a resource.
func (f *follower) serves(r schema.GroupResource) bool {
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
