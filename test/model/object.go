package model

import (
	"time"
)

// object judges what was told of one object.
type object struct {
	run     *Run
	verdict *Verdict
	key     Key
	states  []State
	place   map[string]int // of a state, by its version

	cursor int               // the newest state that was told
	told   map[int]time.Time // when each state was told first
	by     map[int]int64     // the epoch of who told it
	merged map[int]string    // what excuses that a state was skipped
	known  map[[2]string]bool
	newest int64         // the highest epoch that has told
	lates  map[int64]int // requests that came late, by epoch
}

func newObject(r *Run, v *Verdict, key Key) *object {
	o := &object{
		run: r, verdict: v, key: key, states: r.History[key], place: map[string]int{}, newest: -1,
		told: map[int]time.Time{0: {}}, by: map[int]int64{}, merged: map[int]string{}, known: map[[2]string]bool{}, lates: map[int64]int{},
	}
	for i, s := range o.states {
		if s.Version != "" {
			o.place[s.Version] = i
		}
	}
	return o
}

func (o *object) judge(told []Telling) {
	for _, t := range told {
		pair := [2]string{t.ID, t.Old}
		switch {
		case t.Epoch < o.newest:
			o.late(t)
			continue
		case o.known[pair]:
			o.verdict.Duplicates++
		default:
			o.known[pair] = true
			o.take(t)
		}
		o.newest = t.Epoch
	}
	o.untold()
}

// late is a request of a leader of before, which a receiver passes over: one that
// was on its way.
func (o *object) late(t Telling) {
	o.verdict.Late++
	if o.lates[t.Epoch]++; o.lates[t.Epoch] > 1 {
		o.find(Disorder, "", "%s is late number %d of epoch %d, after one of epoch %d", t.ID, o.lates[t.Epoch], t.Epoch, o.newest)
	}
}

// take judges an event by the transition that it tells.
func (o *object) take(t Telling) {
	to, ok := o.target(t)
	if !ok {
		o.find(Invented, "", "%s (%s) tells of what never was", t.ID, t.Via)
		return
	}
	from := o.source(t, to)
	if to <= o.cursor {
		kind := Disorder
		if _, before := o.told[to]; before {
			kind = Retold
		}
		o.find(kind, o.excuse(mayRetell, t, to), "%s with the old object %s (%s) comes after %s was told", t.ID, named(t.Old), t.Via, o.named(o.cursor))
		o.note(t, to)
		return
	}
	switch {
	case t.Old == "" && uidOf(t.Now) == uidOf(o.states[o.cursor].Version) && from < o.cursor:
		o.find(Retold, o.excuse(mayRetell, t, to), "%s (%s) is a second Add, %s was told last", t.ID, t.Via, o.named(o.cursor))
	case from < o.cursor || from >= to || t.Now != "" && t.Old != "" && uidOf(t.Now) != uidOf(t.Old):
		o.find(WrongOld, o.excuse(mayRetell, t, to), "%s (%s) has the old object %s instead of %s", t.ID, t.Via, named(t.Old), o.named(o.cursor))
	}
	o.skip(t, max(from, o.cursor), to)
	o.note(t, to)
	o.cursor = to
}

// target is the state that an event tells of; false: it never was, or the id is not
// that of what is told.
func (o *object) target(t Telling) (int, bool) {
	if t.ID != idOf(t.Old, t.Now) {
		return 0, false
	}
	if t.Now != "" {
		to, ok := o.place[t.Now]
		return to, ok
	}
	for i, ok := o.place[t.Old]; ok && i < len(o.states); i++ {
		if o.states[i].Version == "" {
			return i, true
		}
	}
	return 0, false
}

// source is the state that an event goes on from; negative: it never was.
func (o *object) source(t Telling, to int) int {
	if t.Old != "" {
		if from, ok := o.place[t.Old]; ok {
			return from
		}
		return -1
	}
	if o.cursor < to && o.states[o.cursor].Version == "" {
		return o.cursor
	}
	return o.absentBefore(to)
}

// absentBefore is the last state before another one in which the object is not.
func (o *object) absentBefore(i int) int {
	for i--; i > 0 && o.states[i].Version != ""; i-- {
	}
	return i
}

// skip excuses the states between two that are told as one change: a list was
// compared, and a line said so.
func (o *object) skip(t Telling, from, to int) {
	if to == from+1 {
		return
	}
	excuse := o.excuse(mayMerge, t, to)
	for i := from + 1; i < to && excuse != ""; i++ {
		o.merged[i] = excuse
	}
}

// note keeps that a state was told.
func (o *object) note(t Telling, state int) {
	if _, before := o.told[state]; !before {
		o.told[state], o.by[state] = t.At, t.Epoch
	}
}

func (o *object) find(kind Kind, excuse, format string, args ...any) {
	o.verdict.find(kind, excuse, o.key, format, args...)
}

// named is a state for people.
func (o *object) named(i int) string { return named(o.states[i].Version) }

func named(version string) string {
	if version == "" {
		return "nothing"
	}
	return version
}
