package state

import (
	"math"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// Watch is how far one resource, in one namespace or all, has been followed.
// It is kept with the objects, so that a restart goes on where it ended.
type Watch struct {
	Name       string // as it is configured
	Resource   schema.GroupVersionResource
	Kind       schema.GroupVersionKind
	Namespaced bool
	Namespace  string   // empty: all, or a resource of the cluster
	Exclude    []string `json:",omitempty"` // namespaces left out
	Labels     string   `json:",omitempty"`
	Fields     string   `json:",omitempty"`

	// Version is the resourceVersion up to which all is recorded; empty: the
	// objects have to be listed and compared.
	Version string `json:",omitempty"`
	// Before, while the objects are listed and compared, is the version up to which all
	// was recorded before that.
	Before string `json:",omitempty"`
	// All tells that everything was seen that exists in the watch's area, but in
	// the namespaces of But. Without, that holds for the namespaces of Only.
	All  bool     `json:",omitempty"`
	But  []string `json:",omitempty"`
	Only []string `json:",omitempty"`
	// Old, in Unix seconds, parts what was not seen: an object created at that
	// second or later is news, an older one is the baseline. Never and Always are
	// the two ends.
	Old int64
	// BaselineVersion, if there is one, is a resourceVersion up to which all was told,
	// though not seen here: an object that is no newer is the baseline, whenever it was
	// created.
	BaselineVersion string `json:",omitempty"`
	// Forget tells that an object that is not there any more may just have left
	// the scope, so that its absence is no Delete.
	Forget bool `json:",omitempty"`
}

// What Old may be besides a time.
const (
	Always int64 = math.MaxInt64 // all objects are the baseline
	Never  int64 = math.MinInt64 // all objects are Adds
)

// Place is what the watch follows.
func (w *Watch) Place() client.Place {
	return client.Place{GroupResource: w.Resource.GroupResource(), Namespace: w.Namespace}
}

// Knows tells whether everything that exists in a namespace was seen, so that
// what was not is news.
func (w *Watch) Knows(namespace string) bool {
	if w.All {
		return !slices.Contains(w.But, namespace)
	}
	return slices.Contains(w.Only, namespace)
}

// holds tells whether a namespace belongs to the watch's area.
func (w *Watch) holds(namespace string) bool {
	return w.Namespace == namespace || w.Namespace == "" && !slices.Contains(w.Exclude, namespace)
}

// Within tells whether the watch's area is a part of another's.
func (w *Watch) Within(o *Watch) bool {
	if w.Namespace != "" {
		return o.holds(w.Namespace)
	}
	return o.Namespace == "" && !slices.ContainsFunc(o.Exclude, func(ns string) bool { return !slices.Contains(w.Exclude, ns) })
}

// IsBaseline tells whether an object that was not seen before is no change.
func (w *Watch) IsBaseline(o *object.Object) bool {
	return !w.Knows(o.Namespace) && (o.Created < w.Old || w.BaselineVersion != "" && !Later(o.ResourceVersion, w.BaselineVersion))
}

// listed is the watch after a list that was compared whole.
func (w Watch) listed(version string) Watch {
	w.Version, w.Before, w.All, w.But, w.Only, w.Forget, w.BaselineVersion = version, "", true, nil, nil, false, ""
	return w
}

// Adopt takes over for a watch what was kept of the watches of an earlier run:
// where they covered it, it goes on; a namespace that they did not cover gets a
// baseline; and where the selectors are others, no absence means a Delete.
func (w Watch) Adopt(kept []Watch) Watch {
	var same []Watch
	for _, k := range kept {
		if k.Resource.GroupResource() != w.Resource.GroupResource() {
			continue
		}
		if k.Labels != w.Labels || k.Fields != w.Fields {
			w.Forget = w.Forget || k.Overlaps(&w)
			continue
		}
		same = append(same, k)
	}
	for _, k := range same {
		if !w.Within(&k) {
			continue
		}
		w.All, w.But, w.Only, w.Old, w.Version, w.Forget = k.All, k.But, k.Only, k.Old, k.Version, k.Forget
		w.Before, w.BaselineVersion = k.Before, k.BaselineVersion
		if k.Kind != w.Kind || k.Resource != w.Resource {
			w.Version = "" // the objects are listed in their new form
		}
		return w
	}
	for _, k := range same {
		switch {
		case k.Namespace == "" && k.All:
			w.All, w.But = true, slices.Concat(k.Exclude, k.But)
		case k.Namespace == "":
			w.Only = append(w.Only, k.Only...)
		case k.All && w.Namespace == "":
			w.Only = append(w.Only, k.Namespace)
		}
	}
	if w.Forget {
		w.Old = Always
	}
	return w
}

// Overlaps tells whether two watches have a resource and a namespace in common.
func (w *Watch) Overlaps(o *Watch) bool {
	if w.Place().GroupResource != o.Place().GroupResource {
		return false
	}
	return w.Namespace == "" && o.Namespace == "" || w.Namespace != "" && o.holds(w.Namespace) || o.Namespace != "" && w.holds(o.Namespace)
}

// Since says from when on, in Unix seconds of the API server, the names of the configuration, each with its
// namespace, have been followed or waited for.
type Since map[Name]int64

// Name is a name of the configuration in one namespace, or in all.
type Name struct{ Name, Namespace string }
