package model

import (
	"math"
	"slices"
	"time"
)

// Setting is a configuration file that was written. Scope has the namespaces of each
// resource; none: all.
type Setting struct {
	At    time.Time
	Scope map[string][]string
}

func (s Setting) watches(resource, namespace string) bool {
	namespaces := s.Scope[resource]
	return len(namespaces) == 0 || slices.Contains(namespaces, namespace)
}

// Process is the log of one process, and when it lived.
type Process struct {
	Begin, End time.Time // no End: it lives
	Log        []Line
}

func (p Process) alive(at time.Time) bool {
	return p.Begin.Before(at) && (p.End.IsZero() || p.End.After(at))
}

// first is when a process first spoke one of these lines after a time.
func (p Process) first(after time.Time, messages ...string) (time.Time, bool) {
	for _, l := range p.Log {
		if l.At.After(after) && slices.Contains(messages, l.Message) {
			return l.At, true
		}
	}
	return time.Time{}, false
}

// clock turns times into revisions.
type clock struct{ before, after func(time.Time) int64 }

// unwatched are the times in which a place may not have been watched: from when a
// file without it was written until a program follows one with it.
func unwatched(settings []Setting, processes []Process, resource, namespace string, c clock) []Span {
	var out []Span
	open := false
	for _, s := range settings {
		switch in := s.watches(resource, namespace); {
		case !in && !open:
			open = true
			out = append(out, Span{Resource: resource, Namespace: namespace, From: c.before(s.At), To: math.MaxInt64})
		case in && open:
			open = false
			if at, ok := followedAgain(processes, s.At, resource, namespace); ok {
				out[len(out)-1].To = c.after(at)
			}
		}
	}
	return out
}

// followedAgain is when a place is watched by who works then, and nobody has the
// file of before any more.
func followedAgain(processes []Process, written time.Time, resource, namespace string) (time.Time, bool) {
	taken, ok := takenBy(processes, written)
	if !ok {
		return time.Time{}, false
	}
	var watching, begins []time.Time
	for _, p := range processes {
		for _, l := range p.Log {
			switch {
			case l.Message == isStarting || l.Message == isLeading:
				begins = append(begins, l.At)
			case l.Message == isWatching && l.At.After(written) && l.about(resource, namespace):
				watching = append(watching, l.At)
			}
		}
	}
	slices.SortFunc(watching, time.Time.Compare)
	for _, at := range watching {
		until := at
		if taken.After(at) {
			until = taken
		}
		// Another one may have begun with the file of before.
		if !slices.ContainsFunc(begins, func(b time.Time) bool { return b.After(at) && !b.After(until) }) {
			return until, true
		}
	}
	return time.Time{}, false
}

// takenBy is when every process has taken a file, or has ended; false: one has not.
func takenBy(processes []Process, written time.Time) (time.Time, bool) {
	taken := written
	for _, p := range processes {
		if !p.alive(written) {
			continue
		}
		at, ok := p.first(written, isChanged, isGoingOver)
		if !ok {
			if at = p.End; at.IsZero() {
				return at, false
			}
		}
		taken = slices.MaxFunc([]time.Time{taken, at}, time.Time.Compare)
	}
	return taken, true
}

// sample is what etcd's revision was at a time: it was asked for then and answered
// by the end.
type sample struct {
	asked, answered time.Time
	revision        int64
}

// clockOf reads times from samples in their order.
func clockOf(samples []sample) clock {
	return clock{
		before: func(at time.Time) int64 {
			i, _ := slices.BinarySearchFunc(samples, at, func(s sample, at time.Time) int { return s.answered.Compare(at) })
			if i == 0 {
				return 0
			}
			return samples[i-1].revision
		},
		after: func(at time.Time) int64 {
			i, _ := slices.BinarySearchFunc(samples, at, func(s sample, at time.Time) int { return s.asked.Compare(at) })
			if i == len(samples) {
				return math.MaxInt64
			}
			return samples[i].revision
		},
	}
}
