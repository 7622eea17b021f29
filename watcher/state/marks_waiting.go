package state

import (
	"cmp"
	"strconv"

	"github.com/kwatchman/kwatchman/watcher/client"
)

// waitingOf is what waits of one watch.
type waitingOf struct {
	objects []WaitingObject
	at      map[string]int // key → index in objects
	oldest  string         // the version from which a watch tells all of it
	newest  string         // that was queued last
}

// add notes the next change that waits, in the order of the queue.
func (w *waitingOf) add(q *Queued) {
	if base := q.begins(); w.oldest == "" || later(w.oldest, base) {
		w.oldest = base
	}
	i, ok := w.at[q.key]
	if !ok {
		if w.at == nil {
			w.at = map[string]int{}
		}
		i = len(w.objects)
		w.at[q.key] = i
		w.objects = append(w.objects, WaitingObject{Key: q.key, From: q.from})
	}
	w.newest = cmp.Or(q.to, q.from)
	o := &w.objects[i]
	if o.To = q.to; q.to == "" {
		o.Deleted = append(o.Deleted, q.from)
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
	for _, q := range queue {
		p := m.watches[q.place]
		if p != nil && q.amid && q.base == p.version() && (p.amid || p.last == nil) {
			continue // of a list that is being compared: it comes again after the mark
		}
		of(q.place).add(q)
	}
	for id, o := range m.owed {
		place := o.Watch.Place()
		w := of(place)
		if _, ok := w.at[id.key]; !ok {
			w.objects = append(w.objects, o.WaitingObject)
		}
		if m.watches[place] == nil {
			m.watches[place] = &markedWatch{begun: o.Watch, ended: true}
		}
	}
	return out
}

// later reports whether version a comes after b; one that is no number does.
func later(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 63)
	y, errY := strconv.ParseUint(b, 10, 63)
	return errX != nil || errY != nil || x > y
}
