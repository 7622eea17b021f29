package state

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/kwatchman/kwatchman/watcher/client"
)

// waitingOf is what waits of one watch.
type waitingOf struct {
	objects []WaitingObject
	at      map[string]int // key → index in objects
	oldest  string         // the version from which a watch tells all of it
	newest  string         // that was queued last
	since   int64          // when the first was seen, in Unix seconds
}

// add notes the next change that waits, in the order of the queue; owed is what
// a leader before has left of its object, if it has.
func (w *waitingOf) add(q *Queued, owed *Owed) {
	if w.since == 0 {
		w.since = q.seen
	}
	if base := q.begins(); w.oldest == "" || Later(w.oldest, base) {
		w.oldest = base
	}
	i, ok := w.at[q.key]
	if !ok {
		if w.at == nil {
			w.at = map[string]int{}
		}
		i = len(w.objects)
		w.at[q.key] = i
		o := WaitingObject{Key: q.key, From: q.from}
		if owed != nil {
			o = owed.WaitingObject
		}
		w.objects = append(w.objects, o)
	}
	w.newest = cmp.Or(q.to, q.from)
	o := &w.objects[i]
	if o.To = q.to; q.to == "" {
		o.Deleted = append(o.Deleted[:len(o.Deleted):len(o.Deleted)], q.from)
	}
}

// begins is a version from which a watch tells the change.
func (q *Queued) begins() string {
	if q.base != "" || q.from != "" {
		return cmp.Or(q.base, q.from)
	}
	n, err := strconv.ParseUint(q.to, 10, 63)
	if err != nil || n == 0 {
		return q.to
	}
	return strconv.FormatUint(n-1, 10)
}

// waiting reads off the queue what waits of each watch; the caller holds mu.
func (m *marks) waiting(queue []*Queued) map[client.Place]*waitingOf {
	out := map[client.Place]*waitingOf{}
	of := func(place client.Place) *waitingOf {
		if out[place] == nil {
			out[place] = &waitingOf{}
		}
		return out[place]
	}
	named := map[objectID]bool{}
	for _, q := range queue {
		if m.comesAgain(q) {
			continue
		}
		id := objectID{q.Resource().String(), q.key}
		var owed *Owed
		if o, ok := m.owed[id]; ok {
			owed = &o
		}
		named[id] = true
		of(q.place).add(q, owed)
	}
	for _, id := range slices.SortedFunc(maps.Keys(m.owed), objectID.compare) {
		o := m.owed[id]
		if named[id] {
			continue
		}
		place := o.Watch.Place()
		if m.watches[place] == nil {
			m.watches[place] = &markedWatch{begun: o.Watch, ended: true}
		}
		w := of(place)
		w.objects = append(w.objects, o.WaitingObject)
		w.newest = cmp.Or(w.newest, o.Watch.Version)
	}
	return out
}

// comesAgain tells whether a change was found by a comparison that is still under
// way: whoever begins at the mark, which is of before, finds it again.
func (m *marks) comesAgain(q *Queued) bool {
	p := m.watches[q.place]
	return p != nil && !p.ended && q.amid && q.base == p.version() && (p.amid || p.last == nil)
}

// Later reports whether resourceVersion a comes after b. Of versions that cannot be
// compared it does.
func Later(a, b string) bool {
	c, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || c > 0
}
