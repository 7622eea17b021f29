package plan

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
)

// serves is a resource in some versions, the preferred one first.
func serves(d *client.Discovery, group, kind, plural string, namespaced bool, versions ...string) {
	for _, v := range versions {
		gv := schema.GroupVersion{Group: group, Version: v}
		d.Resources = append(d.Resources, client.Resource{
			GroupVersionResource: gv.WithResource(plural), Kind: gv.WithKind(kind), Namespaced: namespaced,
			Verbs: []string{"list", "watch"},
		})
	}
}

func cluster() *client.Discovery {
	d := &client.Discovery{}
	serves(d, "", "ConfigMap", "configmaps", true, "v1")
	serves(d, "", "Node", "nodes", false, "v1")
	serves(d, "", "Pod", "pods", true, "v1")
	serves(d, "apps", "Deployment", "deployments", true, "v1")
	serves(d, "stable.example.com", "CronTab", "crontabs", true, "v2", "v1")
	serves(d, "other.example.com", "CronTab", "crontabs", true, "v1")
	return d
}

// of makes a plan and lists it, one line a place.
func of(cfg config.Config, d *client.Discovery, current map[client.Place]schema.GroupVersionResource) (*Plan, []string) {
	for i := range cfg.Watched {
		cfg.Watched[i].Where = fmt.Sprintf("resource %d", i+1)
	}
	p := Of(&cfg, d, current)
	var out []string
	for _, place := range p.Sorted() {
		e := p.Places[place]
		line := place.String() + " " + e.Resource.Version
		if place.Namespace != "" {
			line += " in " + place.Namespace
		}
		if e.LabelSelector+e.FieldSelector != "" {
			line += " with " + e.LabelSelector + e.FieldSelector
		}
		out = append(out, line)
	}
	return p, out
}

func watched(r ...config.Resource) config.Config { return config.Config{Watched: r} }

func TestAPlanIsWhatIsConfiguredAndServed(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  config.Config
		want []string
	}{
		"named twice, watched once": {
			watched(config.Resource{Name: "configmap"}, config.Resource{Name: "ConfigMaps"}),
			[]string{"configmaps v1"},
		},
		"namespaces, but for what has none": {
			watched(config.Resource{Name: "configmaps", Namespaces: []string{"b", "a", "b"}}, config.Resource{Name: "nodes", Namespaces: []string{"a"}}),
			[]string{"configmaps v1 in a", "configmaps v1 in b", "nodes v1"},
		},
		"a namespace that is left out": {
			config.Config{
				Watched:           []config.Resource{{Name: "configmaps", Namespaces: []string{"a", "b"}}},
				ExcludeNamespaces: []string{"b"},
			},
			[]string{"configmaps v1 in a"},
		},
		"a namespace that is watched anyway": {
			watched(config.Resource{Name: "configmaps", Namespaces: []string{"a"}}, config.Resource{Name: "configmaps"}),
			[]string{"configmaps v1"},
		},
		"other selectors in another namespace": {
			watched(
				config.Resource{Name: "configmaps", Namespaces: []string{"a"}, LabelSelector: "x=y"},
				config.Resource{Name: "configmaps", Namespaces: []string{"b"}, FieldSelector: "metadata.name=z"},
			),
			[]string{"configmaps v1 in a with x=y", "configmaps v1 in b with metadata.name=z"},
		},
		"the preferred version, or the one that is named": {
			watched(config.Resource{Name: "crontabs.stable.example.com"}, config.Resource{Name: "crontabs.v1.other.example.com"}),
			[]string{"crontabs.other.example.com v1", "crontabs.stable.example.com v2"},
		},
		"all, once each, but for machines and what is named": {
			watched(config.Resource{Name: "*"}, config.Resource{Name: "configmaps", LabelSelector: "x=y"}),
			[]string{
				"configmaps v1 with x=y", "nodes v1", "deployments.apps v1",
				"crontabs.other.example.com v1", "crontabs.stable.example.com v2",
			},
		},
		"all in a namespace": {
			watched(config.Resource{Name: "*", Namespaces: []string{"a"}}, config.Resource{Name: "pods"}),
			[]string{
				"configmaps v1 in a", "pods v1", "deployments.apps v1 in a",
				"crontabs.other.example.com v1 in a", "crontabs.stable.example.com v2 in a",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, got := of(tt.cfg, cluster(), nil)
			require.NoError(t, p.Err())
			require.Empty(t, p.Missing)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestAScopeThatWouldSendAChangeTwiceIsAnError(t *testing.T) {
	for _, cfg := range []config.Config{
		watched(config.Resource{Name: "configmaps"}, config.Resource{Name: "configmap", LabelSelector: "x=y"}),
		watched(config.Resource{Name: "configmaps", LabelSelector: "x=y"}, config.Resource{Name: "configmaps", Namespaces: []string{"a"}}),
	} {
		p, _ := of(cfg, cluster(), nil)
		require.ErrorContains(t, p.Err(), "resource 2: configmaps")
		require.ErrorContains(t, p.Err(), "has other selectors in resource 1: its changes would be sent twice")
	}
}

func TestAVersionInUseStaysAsLongAsItIsServed(t *testing.T) {
	cfg := watched(config.Resource{Name: "crontabs"})
	d := cluster()
	gvr := schema.GroupVersionResource{Group: "stable.example.com", Version: "v1", Resource: "crontabs"}
	current := map[client.Place]schema.GroupVersionResource{{GroupResource: gvr.GroupResource()}: gvr}
	_, got := of(cfg, d, current)
	require.Equal(t, []string{"crontabs.stable.example.com v1"}, got)

	d = &client.Discovery{}
	serves(d, "other.example.com", "CronTab", "crontabs", true, "v1")
	serves(d, "stable.example.com", "CronTab", "crontabs", true, "v3", "v2")
	_, got = of(cfg, d, current)
	require.Equal(t, []string{"crontabs.stable.example.com v3"}, got, "the same resource, though another one comes first")

	d = &client.Discovery{}
	serves(d, "other.example.com", "CronTab", "crontabs", true, "v1")
	_, got = of(cfg, d, current)
	require.Equal(t, []string{"crontabs.other.example.com v1"}, got)
}

func TestANameThatIsNotServedIsAwaitedOrAnError(t *testing.T) {
	p, got := of(watched(config.Resource{Name: "wombats.zoo.example.com"}, config.Resource{Name: "nodes"}), cluster(), nil)
	require.NoError(t, p.Err())
	require.Equal(t, []string{"nodes v1"}, got)
	require.Len(t, p.Awaited(), 1)
	p, _ = of(watched(config.Resource{Name: "confgmaps"}, config.Resource{Name: "wombats"}), cluster(), nil)
	require.EqualError(t, p.Err(), `resource 1: unknown resource "confgmaps": did you mean configmaps?`)
	require.Len(t, p.Errs(), 2)
	require.Len(t, p.Missing, 2, "while it runs, they are waited for")
	require.Empty(t, p.Awaited())
}
