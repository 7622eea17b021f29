package state

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kwatchman/kwatchman/watcher/client"
)

// Bounds of what Waiting may name: the Lease is written every second. With more,
// Version is held back instead.
const (
	maxWaiting    = 500
	maxAllWaiting = 2000
)

// clocks is by how much those of two machines may differ in seconds.
const clocks = 10

// marks follow the watches. What waits is read off the queue when it is asked for,
// so that they take no more memory than the queue. State.mu guards them.
type marks struct {
	watches map[client.Place]*markedWatch
	// previous are those of the leader, or of the configuration, before: each is
	// published until every watch of its area has a version of its own.
	previous []Mark
	// owed are changes that a leader before has left and that could not be read. A
	// watcher whose state has them can still tell them, until something newer of the
	// object is told.
	owed map[objectID]Owed
}

// Owed is a WaitingObject of a mark whose changes could not be read.
type Owed struct {
	Watch Watch // of the mark
	WaitingObject
}

// markedWatch is how far one watch is.
type markedWatch struct {
	begun Watch  // as it began
	last  *Watch // with the newest version that is recorded; nil: none was
	at    int64  // when it was
	amid  bool   // a list is being compared, so that last is of before
	ended bool   // nobody follows it any more
}

// Follow has the state keep marks, before Start: found are those of the leader
// before, and owed what of its changes could not be read.
func (s *State) Follow(found *Marks, owed []Owed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks = &marks{watches: map[client.Place]*markedWatch{}, owed: map[objectID]Owed{}}
	for _, m := range found.Watches {
		if m.Waiting = nil; !m.Ended { // they are queued here, or owed
			s.marks.previous = append(s.marks.previous, m)
		}
	}
	for _, o := range owed {
		p := o.Watch.Place()
		o.Owed = true
		s.marks.owed[objectID{p.String(), o.Key}] = o
	}
}

// begin takes the watches that a configuration begins with, and the changes that
// wait from before; the caller holds mu.
func (m *marks) begin(watches []Watch, waiting []*Queued) {
	now := time.Now().Unix()
	before := m.watches
	m.watches = map[client.Place]*markedWatch{}
	for _, w := range watches {
		of := before[w.Place()]
		if of == nil || of.ended {
			of = &markedWatch{at: now}
		}
		of.begun = w
		of.set(&w, now)
		m.watches[w.Place()] = of
	}
	for place, of := range before {
		if m.watches[place] != nil {
			continue
		}
		if !of.ended && of.last != nil {
			m.previous = append(m.previous, Mark{Watch: *of.last, At: of.at - clocks})
		}
		of.ended = true
		m.watches[place] = of
	}
	for _, q := range waiting {
		if of := m.watches[q.place]; of == nil || of.ended {
			m.adopt(q, watches)
		}
	}
}

// adopt gives a change that waits from an earlier run, or of a watch that has ended,
// to the watch of its object now, so that one mark names all that waits of an object;
// else to one that has ended.
func (m *marks) adopt(q *Queued, watches []Watch) {
	namespace, _, _ := strings.Cut(q.key, "/")
	r := q.scope.Resource.GroupResource()
	for _, w := range watches {
		if w.Resource.GroupResource() == r && w.holds(namespace) {
			if q.place = w.Place(); q.amid {
				q.base = "" // it comes again until that one is listed
			}
			return
		}
	}
	if m.watches[q.place] != nil {
		return
	}
	w := Watch{Name: r.String(), Resource: q.scope.Resource, Kind: q.scope.Kind, Namespaced: namespace != "", Namespace: namespace, Version: cmp.Or(q.to, q.from)}
	if q.place = w.Place(); m.watches[q.place] == nil {
		m.watches[q.place] = &markedWatch{begun: w, ended: true}
	}
}

// set records how far a watch is.
func (p *markedWatch) set(w *Watch, now int64) {
	if p.amid = w.Version == ""; !p.amid {
		p.last, p.at = w, now
	}
}

func (p *markedWatch) version() string {
	if p.last == nil {
		return ""
	}
	return p.last.Version
}

// recorded follows a transaction; the caller holds mu.
func (m *marks) recorded(t *Tx, changes []*Queued) {
	now := time.Now().Unix()
	watch := func(place client.Place) *markedWatch {
		p := m.watches[place]
		if p == nil {
			p = &markedWatch{at: now}
			m.watches[place] = p
		}
		return p
	}
	for _, q := range changes {
		p := watch(t.place)
		q.place, q.base = t.place, p.version()
	}
	for _, w := range t.watches {
		p := watch(w.Place())
		p.begun, p.ended = *w, false
		p.set(w, now)
	}
	for _, place := range t.gone {
		watch(place).ended = true
	}
}

// acknowledged follows the end of a change: what was owed of its object is out of
// date; the caller holds mu.
func (m *marks) acknowledged(q *Queued) { delete(m.owed, objectID{q.Resource().String(), q.key}) }

// mark is that of a watch with what waits; false: there is none.
func (p *markedWatch) mark(w *waitingOf, limit int) (Mark, bool) {
	if p.ended || p.last == nil {
		return p.onlyWaiting(w)
	}
	m := Mark{Watch: *p.last, At: p.at - clocks}
	switch {
	case w == nil:
	case len(w.objects) <= limit:
		m.Waiting = w.objects
	case w.oldest != "" && w.oldest != m.Version:
		m.Version, m.Seen, m.At = w.oldest, p.last.Version, min(m.At, w.since-clocks)
	}
	return m, true
}

// onlyWaiting is the mark of a watch that has no version to go on from.
func (p *markedWatch) onlyWaiting(w *waitingOf) (Mark, bool) {
	if w == nil || p.begun.Resource.Resource == "" {
		return Mark{}, false
	}
	m := Mark{Watch: p.begun, At: p.at - clocks, Ended: true, Waiting: w.objects}
	if p.last != nil {
		m.Watch = *p.last
	}
	m.Version = cmp.Or(m.Version, w.newest)
	return m, m.Version != ""
}

// Marks are those of this moment, for the leader of an epoch.
func (s *State) Marks(epoch int64) *Marks {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &Marks{Epoch: epoch, Since: s.kept.since}
	m := s.marks
	if m == nil {
		return out
	}
	waiting, left := m.waiting(slices.Collect(s.queue.all())), maxAllWaiting
	for _, place := range slices.SortedFunc(maps.Keys(m.watches), comparePlaces) {
		p := m.watches[place]
		mark, ok := p.mark(waiting[place], max(0, min(maxWaiting, left)))
		if !ok && p.ended {
			delete(m.watches, place)
		}
		if ok {
			left -= len(mark.Waiting)
			out.Watches = append(out.Watches, mark)
		}
	}
	m.previous = slices.DeleteFunc(m.previous, func(p Mark) bool { return !m.needs(&p) })
	for _, p := range m.previous {
		out.add(p)
	}
	return out
}

// needs tells whether a mark of before is still the only one of a part of its area.
func (m *marks) needs(mark *Mark) bool {
	for place, p := range m.watches {
		w := Watch{Resource: mark.Resource, Namespace: place.Namespace, Namespaced: mark.Namespaced}
		if !p.ended && p.last == nil && place.GroupResource == mark.Place().GroupResource && w.Overlaps(&mark.Watch) {
			return true
		}
	}
	return false
}

// add adds a mark of before, unless there is one of the same place.
func (m *Marks) add(previous Mark) {
	for i := range m.Watches {
		if m.Watches[i].Place() == previous.Place() {
			if m.Watches[i].Ended {
				previous.Waiting = m.Watches[i].Waiting
				m.Watches[i] = previous
			}
			return
		}
	}
	m.Watches = append(m.Watches, previous)
}
