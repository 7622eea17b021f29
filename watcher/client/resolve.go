package client

import (
	"fmt"
	"slices"
	"strings"
)

// Resolve finds each named resource among those served: by plural, singular,
// kind or short name, each also with its group behind a dot
// (deployments.apps). An unknown name is an error that names the nearest.
func Resolve(names []string, served []Resource, stale []string) ([]Resource, error) {
	var out []Resource
	for _, name := range names {
		r, err := resolve(name, served, stale)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(o Resource) bool { return o.GroupVersionResource == r.GroupVersionResource }) {
			out = append(out, r)
		}
	}
	return out, nil
}

func resolve(name string, served []Resource, stale []string) (Resource, error) {
	wanted := strings.ToLower(name)
	matches := func(r Resource) bool { return slices.Contains(r.names(), wanted) }
	i := slices.IndexFunc(served, func(r Resource) bool { return matches(r) && canWatch(r) })
	if i >= 0 {
		return served[i], nil
	}
	if slices.ContainsFunc(served, matches) {
		return Resource{}, fmt.Errorf("resource %q cannot be listed and watched", name)
	}
	hint := ""
	if near := nearest(wanted, served); near != "" {
		hint = fmt.Sprintf(": did you mean %s?", near)
	}
	if len(stale) > 0 {
		hint += fmt.Sprintf(" (the servers of these API groups do not answer: %s)", strings.Join(stale, ", "))
	}
	return Resource{}, fmt.Errorf("unknown resource %q%s", name, hint)
}

func canWatch(r Resource) bool {
	return slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "watch")
}

// nearest gives the name that is one edit away, two for a long name, or
// nothing.
func nearest(wanted string, served []Resource) string {
	best, distance := "", 2+min(1, len(wanted)/7)
	for _, r := range served {
		if !canWatch(r) {
			continue
		}
		for _, n := range r.names() {
			if d := edits(wanted, n); d < distance && d < len(wanted) {
				best, distance = n, d
			}
		}
	}
	return best
}

// edits is the Levenshtein distance of two names.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
