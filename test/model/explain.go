package model

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// explain tells, for each object of which something is wrong, what happened and what
// was told in the order of time.
func explain(r Run, v *Verdict, faults []string) string {
	var b strings.Builder
	explained := map[Key]bool{}
	for _, f := range v.Findings {
		fmt.Fprintln(&b, f)
	}
	for _, f := range v.Unannounced() {
		if !explained[f.Of] {
			explained[f.Of] = true
			fmt.Fprintf(&b, "\n%s\n%s", f.Of, timeline(r, f.Of))
		}
	}
	fmt.Fprintf(&b, "\nlines that announce\n")
	for _, a := range r.Announced {
		fmt.Fprintf(&b, "%s up to revision %d: %s (%s/%s %s)\n", stamp(a.At), a.UpTo, a.Line, a.Resource, a.Namespace, a.ID)
	}
	fmt.Fprintf(&b, "\nnot watched\n")
	for _, s := range r.Unwatched {
		fmt.Fprintf(&b, "%s/%s from revision %d to %d\n", s.Resource, s.Namespace, s.From, s.To)
	}
	fmt.Fprintf(&b, "\nfaults\n%s\n", strings.Join(faults, "\n"))
	return b.String()
}

func timeline(r Run, k Key) string {
	type entry struct {
		at   time.Time
		text string
	}
	var all []entry
	for i, s := range r.History[k] {
		if i > 0 {
			all = append(all, entry{s.At, fmt.Sprintf("  revision %d: %s", s.Revision, named(s.Version))})
		}
	}
	for _, t := range r.Told {
		if t.Of == k {
			all = append(all, entry{t.At, fmt.Sprintf("      told %s, old object %s, %s, epoch %d", t.ID, named(t.Old), t.Via, t.Epoch)})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.at.Compare(b.at) })
	var b strings.Builder
	for _, e := range all {
		fmt.Fprintf(&b, "%s %s\n", stamp(e.at), e.text)
	}
	return b.String()
}

func stamp(t time.Time) string { return t.UTC().Format("15:04:05.000") }
