package model

// untold looks for the changes that nobody told.
func (o *object) untold() {
	for i := 1; i < len(o.states); i++ {
		if _, ok := o.told[i]; ok {
			o.verdict.Sent++
			continue
		}
		if o.unwatched(i) {
			o.verdict.Unwatched++
			continue
		}
		o.verdict.Sent++
		id := idOf(o.states[i-1].Version, o.states[i].Version)
		if excuse := o.mergedAway(i); excuse != "" {
			o.find(Merged, excuse, "%s of revision %d", id, o.states[i].Revision)
			continue
		}
		o.find(Missing, o.lost(i, id), "%s of revision %d was not told", id, o.states[i].Revision)
	}
}

// unwatched tells whether a change was made while its place may not have been watched.
func (o *object) unwatched(i int) bool {
	for _, s := range o.run.Unwatched {
		if (s.Resource == "" || s.Resource == o.key.Resource) && s.Namespace == o.key.Namespace &&
			s.From < o.states[i].Revision && o.states[i].Revision <= s.To {
			return true
		}
	}
	return false
}

// mergedAway is the line that excuses a state which is part of a net change, or of
// nothing: made and deleted between two looks.
func (o *object) mergedAway(i int) string {
	if excuse := o.merged[i]; excuse != "" {
		return excuse
	}
	from := o.absentBefore(i)
	to := i
	for ; to < len(o.states) && o.states[to].Version != ""; to++ {
	}
	if to == len(o.states) || o.states[from].Version != "" {
		return ""
	}
	for k := from + 1; k <= to; k++ {
		if _, ok := o.told[k]; ok {
			return ""
		}
	}
	for _, a := range o.run.Announced {
		if (a.Excuses.has(mayMerge) || a.Excuses.has(mayLosePassing) && a.From == 0) && a.names(o.key) && o.states[to].Revision <= a.UpTo && o.toldBefore(a) <= from {
			return a.Line
		}
	}
	return ""
}

// lost is the line that excuses that a change is never told.
func (o *object) lost(i int, id string) string {
	for _, a := range o.run.Announced {
		if a.ID != "" {
			if a.ID == id && a.Excuses.has(mayLose) {
				return a.Line
			}
			continue
		}
		if a.Excuses.has(mayLosePassing) && a.names(o.key) && o.passes(i, a) {
			return a.Line
		}
		if a.Excuses.has(mayLose) && a.names(o.key) && o.states[i].Revision <= a.UpTo && o.toldBefore(a) < i {
			return a.Line
		}
	}
	return ""
}

// passes tells whether a state is of an object that came and went within the gap
// that a line is about. Another leader may have told that it came.
func (o *object) passes(i int, a Announcement) bool {
	came, went := i, i
	for came > 0 && o.states[came-1].Version != "" {
		came--
	}
	if o.states[i].Version != "" {
		for went < len(o.states)-1 && o.states[went].Version != "" {
			went++
		}
	}
	return a.From > 0 && o.states[came].Revision > a.From && o.states[went].Version == "" && o.states[went].Revision <= a.UpTo
}

// toldBehind tells whether the newest state was told by a leader of before, within the
// gap that is merged: its watermark was older, so that it is a part of the net
// change, too.
func (o *object) toldBehind(a Announcement, t Telling) bool {
	behind := a.Excuses.has(mayMerge) && a.From > 0 && o.states[o.cursor].Revision > a.From
	return (behind || a.Excuses.has(mayRetellBehind)) && o.by[o.cursor] < t.Epoch
}

// toldBefore is the newest state that was told before a line: what came before it
// the line does not excuse.
func (o *object) toldBefore(a Announcement) int {
	newest := 0
	for i, at := range o.told {
		if i > newest && at.Before(a.At) {
			newest = i
		}
	}
	return newest
}

// excuse is the line that excuses an event as it is: it came after the line and by a
// comparison, and tells of a state from before the line.
func (o *object) excuse(what Excuse, t Telling, to int) string {
	if t.Via != viaRelist {
		return ""
	}
	for _, a := range o.run.Announced {
		if (a.Excuses.has(what) || what == mayRetell && o.toldBehind(a, t)) && a.ID == "" && a.names(o.key) && o.states[to].Revision <= a.UpTo && !t.At.Before(a.At) {
			return a.Line
		}
	}
	return ""
}
