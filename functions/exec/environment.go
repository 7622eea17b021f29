package exec

import (
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// maxVariable bounds a variable in bytes, far below what a kernel takes.
const maxVariable = 32 << 10

// environment is what a command gets of the function's own variables: what most
// programs need, and what is named.
func environment(names []string) []string {
	var out []string
	for _, name := range append([]string{"PATH", "HOME", "LANG", "TZ", "TMPDIR"}, names...) {
		name = strings.TrimSpace(name)
		if value, ok := os.LookupEnv(name); ok && name != "" {
			out = append(out, name+"="+value)
		}
	}
	return out
}

// hider takes the values of the named variables, which may be secrets, out of
// what a command says about itself. Short words are no secrets, and hiding them
// would spoil the text.
func hider(names []string) *strings.Replacer {
	const shortest = 4
	var values []string
	for _, name := range names {
		if value := os.Getenv(strings.TrimSpace(name)); len(value) >= shortest {
			values = append(values, value)
		}
	}
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) }) // the longest match goes first
	pairs := make([]string, 0, 2*len(values))
	for _, v := range values {
		pairs = append(pairs, v, "(hidden)")
	}
	return strings.NewReplacer(pairs...)
}

// variables are those of an event.
func variables(e *event.Event) []string {
	summary := ""
	if e.Diff != nil {
		summary = e.Diff.Summary
	}
	var out []string
	for _, v := range []struct{ name, value string }{
		{"ID", e.ID},
		{"ACTION", string(e.Action)},
		{"KIND", e.Kind},
		{"API_VERSION", e.APIVersion},
		{"NAMESPACE", e.Namespace},
		{"NAME", e.Name},
		{"CLUSTER", e.Cluster},
		{"SUBJECT", e.Subject},
		{"TIME", e.Time.UTC().Format(time.RFC3339Nano)},
		{"VIA", e.Via},
		{"TITLE", e.Title()},
		{"CHANGED_BY", e.Who()},
		{"SUMMARY", summary},
	} {
		value := strings.ReplaceAll(v.value, "\x00", "")
		if len(value) > maxVariable {
			value = strings.ToValidUTF8(value[:maxVariable], "")
		}
		out = append(out, "KWATCHMAN_"+v.name+"="+value)
	}
	return out
}
