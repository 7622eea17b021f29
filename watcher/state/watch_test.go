package state_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/watcher/state"
)

// followed is a watch of Deployments that has listed once.
func followed(namespace string, exclude ...string) state.Watch {
	w := wanted(namespace, exclude...)
	w.All, w.Version, w.Old = true, "7", 100
	return w
}

// wanted is a watch of Deployments of which nothing is known.
func wanted(namespace string, exclude ...string) state.Watch {
	return state.Watch{
		Name: "deploy", Resource: deployments.Resource, Kind: deployments.Kind, Namespaced: true,
		Namespace: namespace, Exclude: exclude, Old: state.Always,
	}
}

func TestAWatchGoesOnWhereItEnded(t *testing.T) {
	for name, tc := range map[string]struct {
		kept  []state.Watch
		want  state.Watch
		at    string   // version to resume at
		known []string // namespaces in which an object that was not seen is news
		other []string // and in which it is the baseline
	}{
		"the same":                      {[]state.Watch{followed("")}, wanted(""), "7", []string{"a", "b"}, nil},
		"one namespace of all":          {[]state.Watch{followed("")}, wanted("a"), "7", []string{"a"}, nil},
		"one of two namespaces":         {[]state.Watch{followed("a"), followed("b")}, wanted("b"), "7", []string{"b"}, nil},
		"a namespace is new":            {[]state.Watch{followed("a")}, wanted("b"), "", nil, []string{"b"}},
		"all instead of one":            {[]state.Watch{followed("a")}, wanted(""), "", []string{"a"}, []string{"b"}},
		"all instead of two":            {[]state.Watch{followed("a"), followed("b")}, wanted(""), "", []string{"a", "b"}, []string{"c"}},
		"a namespace is left out":       {[]state.Watch{followed("")}, wanted("", "x"), "7", []string{"a"}, nil},
		"no longer left out":            {[]state.Watch{followed("", "x")}, wanted(""), "", []string{"a"}, []string{"x"}},
		"another one is left out":       {[]state.Watch{followed("", "x")}, wanted("", "y"), "", []string{"a"}, []string{"x"}},
		"one that had been left out":    {[]state.Watch{followed("", "x")}, wanted("x"), "", nil, []string{"x"}},
		"one that had not":              {[]state.Watch{followed("", "x")}, wanted("a"), "7", []string{"a"}, nil},
		"nothing known":                 {nil, wanted(""), "", nil, []string{"a"}},
		"a list was being compared":     {[]state.Watch{func() state.Watch { w := followed(""); w.Version = ""; return w }()}, wanted(""), "", []string{"a"}, nil},
		"the first list did not end":    {[]state.Watch{wanted("")}, wanted(""), "", nil, []string{"a"}},
		"of another resource":           {[]state.Watch{func() state.Watch { w := followed(""); w.Resource = nodes.Resource; return w }()}, wanted(""), "", nil, []string{"a"}},
		"all, half of it not yet known": {[]state.Watch{followed("a").Adopt(nil), wanted("").Adopt([]state.Watch{followed("a")})}, wanted(""), "", []string{"a"}, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.want.Adopt(tc.kept)
			require.Equal(t, tc.at, got.Version)
			for _, ns := range tc.known {
				require.True(t, got.Knows(ns), ns)
			}
			for _, ns := range tc.other {
				require.False(t, got.Knows(ns), ns)
			}
			require.False(t, got.Forget)
			require.Equal(t, tc.want.Place(), got.Place())
		})
	}
}

func TestAnotherVersionOfTheResourceIsListedAndCompared(t *testing.T) {
	w := wanted("")
	w.Resource.Version, w.Kind.Version = "v2", "v2"
	got := w.Adopt([]state.Watch{followed("")})
	require.Empty(t, got.Version)
	require.True(t, got.Knows("a"))
	require.Equal(t, "v2", got.Resource.Version)
}

func TestOtherSelectorsDeleteNothing(t *testing.T) {
	for name, kept := range map[string]state.Watch{
		"labels": func() state.Watch { w := followed(""); w.Labels = "app=x"; return w }(),
		"fields": func() state.Watch { w := followed("a"); w.Fields = "metadata.name=x"; return w }(),
	} {
		t.Run(name, func(t *testing.T) {
			w := wanted("")
			w.Old = 5
			got := w.Adopt([]state.Watch{kept})
			require.True(t, got.Forget)
			require.Empty(t, got.Version)
			require.False(t, got.Knows("a"))
			require.Equal(t, state.Always, got.Old, "what is new to the selectors is the baseline")
		})
	}
	elsewhere := followed("b")
	elsewhere.Labels = "app=x"
	require.False(t, wanted("a").Adopt([]state.Watch{elsewhere}).Forget, "another namespace says nothing")
}
