package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// byAutoscaler says in a stop's reason why spec.replicas was held back.
const byAutoscaler = "replicas by an autoscaler"

// held is what of an update is held back: what changed of it, in words.
type held struct {
	fields []string // each followed by "changed" in a sentence
	scaled bool
}

// maxHeld bounds the fields that a reason names.
const maxHeld = 8

// differing notes what was taken out of both sides and is not the same.
func (h *held) differing(old, now []taken) {
	compare := func(a, b taken) int { return cmp.Compare(a.path, b.path) }
	slices.SortStableFunc(old, compare)
	slices.SortStableFunc(now, compare)
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && old[0].path < now[0].path:
			h.note(old[0])
			old = old[1:]
		case len(old) == 0 || now[0].path < old[0].path:
			h.note(now[0])
			now = now[1:]
		default:
			if !same(old[0].v, now[0].v) {
				h.note(now[0])
			}
			old, now = old[1:], now[1:]
		}
	}
}

func (h *held) note(t taken) {
	if t.rule.because == byAutoscaler {
		h.scaled = true
		return
	}
	what := t.rule.because
	if strings.Contains(what, "%s") {
		what = fmt.Sprintf(what, t.path)
	}
	if !slices.Contains(h.fields, what) {
		h.fields = append(h.fields, what)
	}
}

// reason says why an update is not worth a message: which of the fields that
// are held back it changed, and in which lists it did nothing but change the
// order. Every update writes a resourceVersion, and most a generation, so these
// are named only when they are alone.
func (h *held) reason(reordered []string) string {
	fields := slices.Clone(h.fields)
	for _, version := range []string{"metadata.resourceVersion", "metadata.generation"} {
		if len(fields) > 1 || h.scaled || len(reordered) > 0 {
			fields = slices.DeleteFunc(fields, func(f string) bool { return f == version })
		}
	}
	for _, list := range reordered {
		fields = append(fields, "the order of "+list)
	}
	if n := len(fields) - maxHeld; n > 0 {
		fields = append(fields[:maxHeld], fmt.Sprintf("%d more", n))
	}
	switch {
	case len(fields) == 0 && h.scaled:
		return byAutoscaler
	case len(fields) == 0:
		return "nothing changed"
	}
	line := "only " + strings.Join(fields, ", ") + " changed"
	if h.scaled {
		line += "; " + byAutoscaler
	}
	return line
}
