// Package plan works out what to watch: the configured resources, as the API
// server serves them at a moment, each in its namespaces.
package plan

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
)

// Entry says how a place is watched.
type Entry struct {
	Resource      client.Resource // in the version to use
	LabelSelector string
	FieldSelector string
	Name          string // as configured
	Where         string // the setting that names it, for errors
}

// Missing is a configured resource that is not served.
type Missing struct {
	config.Resource
	Near string // a name that is served and looks like it

	wrong bool // an error says why
}

// Plan is what to watch. What the configuration names that is not served is
// not in it.
type Plan struct {
	Places  map[client.Place]Entry
	Missing []Missing

	errs []error
}

// Of makes a plan. current says in which version a place is watched already,
// which stays as long as it is served.
func Of(cfg *config.Config, served *client.Discovery, current map[client.Place]schema.GroupVersionResource) *Plan {
	p := &Plan{Places: map[client.Place]Entry{}}
	versions := map[schema.GroupVersionResource]bool{}
	resources := map[schema.GroupResource]bool{}
	for _, gvr := range current {
		versions[gvr], resources[gvr.GroupResource()] = true, true
	}
	named := map[schema.GroupResource]bool{}
	for _, r := range cfg.Watched {
		if r.Name == config.All {
			continue
		}
		found := served.Find(r.Name)
		if len(found) == 0 {
			p.missing(r, served)
			continue
		}
		chosen := choose(found, versions, resources)
		named[chosen.GroupResource()] = true
		p.add(cfg, r, chosen)
	}
	for _, r := range cfg.Watched {
		if r.Name != config.All {
			continue
		}
		all := served.All()
		for len(all) > 0 {
			of := all[0].GroupResource()
			n := slices.IndexFunc(all, func(o client.Resource) bool { return o.GroupResource() != of })
			if n < 0 {
				n = len(all)
			}
			chosen := choose(all[:n], versions, resources)
			all = all[n:]
			if !named[of] && (chosen.Namespaced || len(r.Namespaces) == 0) {
				p.add(cfg, r, chosen)
			}
		}
	}
	p.overlaps()
	return p
}

func (p *Plan) missing(r config.Resource, served *client.Discovery) {
	near, err := served.Missing(r.Name)
	if err != nil {
		p.errs = append(p.errs, fmt.Errorf("%s: %w", r.Where, err))
	}
	p.Missing = append(p.Missing, Missing{Resource: r, Near: near, wrong: err != nil})
}

// choose takes the version that is in use, else the resource that is in use,
// else what the API server prefers.
func choose(found []client.Resource, versions map[schema.GroupVersionResource]bool, resources map[schema.GroupResource]bool) client.Resource {
	for _, f := range found {
		if versions[f.GroupVersionResource] {
			return f
		}
	}
	for _, f := range found {
		if resources[f.GroupResource()] {
			return f
		}
	}
	return found[0]
}

func (p *Plan) add(cfg *config.Config, r config.Resource, chosen client.Resource) {
	namespaces := []string{""}
	if chosen.Namespaced {
		namespaces = cfg.NamespacesOf(r)
	}
	entry := Entry{Resource: chosen, LabelSelector: r.LabelSelector, FieldSelector: r.FieldSelector, Name: r.Name, Where: r.Where}
	for _, ns := range namespaces {
		place := client.Place{GroupResource: chosen.GroupResource(), Namespace: ns}
		if before, ok := p.Places[place]; ok {
			p.conflict(place, before, entry)
			continue
		}
		p.Places[place] = entry
	}
}

// overlaps drops a namespace where all are watched anyway.
func (p *Plan) overlaps() {
	for _, place := range p.Sorted() {
		whole, ok := p.Places[client.Place{GroupResource: place.GroupResource}]
		if ok && place.Namespace != "" {
			p.conflict(place, whole, p.Places[place])
			delete(p.Places, place)
		}
	}
}

// conflict is an error where one object would be watched with two scopes: its
// changes would be sent twice.
func (p *Plan) conflict(place client.Place, a, b Entry) {
	if a.LabelSelector == b.LabelSelector && a.FieldSelector == b.FieldSelector {
		return
	}
	in := ""
	if place.Namespace != "" {
		in = " in namespace " + place.Namespace
	}
	p.errs = append(p.errs, fmt.Errorf("%s: %s%s has other selectors in %s: its changes would be sent twice, so say it once",
		b.Where, place.GroupResource, in, a.Where))
}

// Awaited are the missing names that may well be served later.
func (p *Plan) Awaited() []Missing {
	return slices.DeleteFunc(slices.Clone(p.Missing), func(m Missing) bool { return m.wrong })
}

// Err is the first reason why the configuration cannot be followed as it is.
func (p *Plan) Err() error {
	if len(p.errs) == 0 {
		return nil
	}
	return p.errs[0]
}

// Errs are all the reasons of Err.
func (p *Plan) Errs() []error { return p.errs }

// Sorted lists the places in a fixed order.
func (p *Plan) Sorted() []client.Place {
	var out []client.Place
	for place := range p.Places {
		out = append(out, place)
	}
	slices.SortFunc(out, func(a, b client.Place) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Namespace, b.Namespace))
	})
	return out
}
