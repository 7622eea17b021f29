package watcher

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/plan"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// This is sources.startPositions.
func TestWhereASourceGoesOn(t *testing.T) {
	scope := scopeOf("configmaps", "ConfigMap")
	resource := client.Resource{GroupVersionResource: scope.Resource, Kind: scope.Kind, Namespaced: true}
	kept := func(namespace, version, labels string) state.Watch {
		w := watchOf("cm", "ConfigMap", version)
		w.Resource, w.Namespace, w.Labels, w.Old = scope.Resource, namespace, labels, 3
		return w
	}
	since := state.Since{{Name: "cm", Namespace: ""}: 7, {Name: "cm", Namespace: "shop"}: 7, {Name: "cm", Namespace: wholeCluster}: 7}
	for name, tt := range map[string]struct {
		namespaces []string // of the configuration; none: all
		served     bool
		before     known
		initial    string
		want       []state.Watch // Namespace, Version, All, Only, Old, Forget are compared
		listAt     string
	}{
		"the first start":                 {served: true, want: []state.Watch{{Old: state.Always}}},
		"the first start, emitting":       {served: true, initial: "emit", want: []state.Watch{{Old: state.Never}}},
		"a restart":                       {served: true, before: known{watches: []state.Watch{kept("", "9", "")}, since: since}, want: []state.Watch{{Version: "9", All: true, Old: 3}}},
		"a name that was awaited appears": {served: true, before: known{since: since}, want: []state.Watch{{Old: 7}}},
		"a namespace of all": {
			namespaces: []string{"shop"}, served: true, before: known{watches: []state.Watch{kept("", "9", "")}, since: since},
			want: []state.Watch{{Namespace: "shop", Version: "9", All: true, Old: 3}},
		},
		"all, after a namespace": {
			served: true, before: known{watches: []state.Watch{kept("shop", "9", "")}, since: since},
			want: []state.Watch{{Only: []string{"shop"}, Old: 7}},
		},
		"all, taken over from a leader of a namespace": {
			served: true, before: known{watches: []state.Watch{kept("shop", "9", ""), kept("other", "11", "")}, since: since, tookOver: true},
			want: []state.Watch{{Only: []string{"shop", "other"}, Old: 7}}, listAt: "11",
		},
		"other selectors": {
			served: true, before: known{watches: []state.Watch{kept("", "9", "app=a")}, since: since},
			want: []state.Watch{{Old: state.Always, Forget: true}},
		},
		"not served any more": {
			before: known{watches: []state.Watch{kept("", "9", "")}, since: since}, want: []state.Watch{{Version: "9", All: true, Old: 3}},
		},
		"taken out of the configuration, and not served": {
			before: known{watches: []state.Watch{kept("gone", "9", "")}, since: since},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &config.Config{Watched: []config.Resource{{Name: "cm", Namespaces: tt.namespaces}}, Initial: config.Initial(tt.initial)}
			f := &sources{cfg: cfg, served: &client.Discovery{}, gone: map[client.Place]bool{}, since: sinceOf(cfg, tt.before.since, 50)}
			p := &plan.Plan{Places: map[client.Place]plan.Entry{}}
			if tt.served {
				f.served.Resources = []client.Resource{resource}
				for _, ns := range append([]string{}, orAll(tt.namespaces)...) {
					p.Places[client.Place{GroupResource: scope.Resource.GroupResource(), Namespace: ns}] = plan.Entry{Resource: resource, Name: "cm"}
				}
			}
			var got []state.Watch
			for _, p := range f.startPositions(p, tt.before) {
				w := p.watch
				got = append(got, state.Watch{Namespace: w.Namespace, Version: w.Version, All: w.All, Only: w.Only, Old: w.Old, Forget: w.Forget})
				require.Equal(t, tt.listAt, p.listAt)
			}
			require.Equal(t, tt.want, got)
		})
	}
}

func orAll(namespaces []string) []string {
	if len(namespaces) == 0 {
		return []string{""}
	}
	return namespaces
}

// B17: what a watch that was down has not seen, and will not see any more, is said.
func TestAWatchThatIsTakenAwayWhileItIsDownIsAWarning(t *testing.T) {
	k := watchOf("configmaps", "ConfigMap", "9")
	shop, other := k, k
	shop.Namespace, other.Resource.Resource = "shop", "secrets"
	for name, tt := range map[string]struct {
		begin  []state.Watch
		behind bool
		want   string
	}{
		"goes on":                            {[]state.Watch{k}, true, ""},
		"a part of it goes on":               {[]state.Watch{shop}, false, ""},
		"a part of it goes on, it was down":  {[]state.Watch{shop}, true, "level=WARN"},
		"nothing of it goes on":              {[]state.Watch{other}, false, "level=INFO"},
		"nothing of it goes on, it was down": {nil, true, "level=WARN"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			f := &sources{log: slog.New(slog.NewTextHandler(&log, nil))}
			f.logForgotten(&k, tt.begin, tt.behind)
			require.Contains(t, log.String(), tt.want)
			require.Equal(t, tt.want == "", log.Len() == 0)
		})
	}
}
