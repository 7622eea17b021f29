package state

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// Marks say up to where all changes are acknowledged, and which are not. They are
// what a leader leaves to the next one, which lists the objects as they were there.
type Marks struct {
	Epoch   int64 // of the leader that wrote them
	Watches []Mark
	Since   Since
}

// Mark is that of one watch: Version is the resourceVersion up to which all is
// acknowledged but the changes of the objects in Waiting.
type Mark struct {
	Watch
	// At, in Unix seconds, is when that was so, at the latest: what was created
	// later was not seen.
	At int64
	// Waiting are the objects with changes that are not acknowledged. Without this
	// list one object whose endpoint fails would hold Version back for all others,
	// and what was told of them would be told once more, as other changes where the
	// API server has lost its history meanwhile.
	Waiting []WaitingObject `json:",omitempty"`
	// Seen is the version up to which all was seen, where that is another one
	// because too many objects wait for Waiting to name them.
	Seen string `json:",omitempty"`
	// Ended tells that nobody follows the watch any more: only Waiting is left.
	Ended bool `json:",omitempty"`
}

// WaitingObject names the changes of one object that are not acknowledged by the
// versions that are enough to read them again from the API server's history.
type WaitingObject struct {
	Key string `json:"k"` // object.Key
	// From is the version that was acknowledged last; empty: it was not there.
	From string `json:"f,omitempty"`
	// Deleted are the versions that are told as deleted, in order.
	Deleted []string `json:"d,omitempty"`
	// To is the newest version; empty: the object is deleted.
	To string `json:"t,omitempty"`
}

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
		if m.watches[q.place] == nil {
			m.adopt(q, watches)
		}
	}
}

// adopt gives a change that waits from an earlier run to the watch of its object,
// or to one that has ended.
func (m *marks) adopt(q *Queued, watches []Watch) {
	namespace, _, _ := strings.Cut(q.key, "/")
	r := q.scope.Resource.GroupResource()
	for _, w := range watches {
		if w.Resource.GroupResource() == r && w.holds(namespace) {
			q.place = w.Place()
			return
		}
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
		q.place, q.base, q.amid = t.place, p.version(), p.amid || p.last == nil
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

// mark is that of a watch with what waits; false: there is none.
func (p *markedWatch) mark(now int64, w *waitingOf, limit int) (Mark, bool) {
	if p.ended || p.last == nil {
		return p.onlyWaiting(w, limit)
	}
	m := Mark{Watch: *p.last, At: now - clocks}
	if p.amid {
		m.At = p.at - clocks
	}
	switch {
	case w == nil:
	case len(w.objects) <= limit:
		m.Waiting = w.objects
	case w.oldest != "" && w.oldest != m.Version:
		m.Version, m.Seen = w.oldest, p.last.Version
	}
	return m, true
}

// onlyWaiting is the mark of a watch that has no version to go on from.
func (p *markedWatch) onlyWaiting(w *waitingOf, limit int) (Mark, bool) {
	if w == nil || p.begun.Resource.Resource == "" {
		return Mark{}, false
	}
	m := Mark{Watch: p.begun, At: p.at - clocks, Ended: true, Waiting: w.objects[:min(limit, len(w.objects))]}
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
	now, waiting, left := time.Now().Unix(), m.waiting(slices.Collect(s.queue.all())), maxAllWaiting
	for _, place := range slices.SortedFunc(maps.Keys(m.watches), comparePlaces) {
		p := m.watches[place]
		mark, ok := p.mark(now, waiting[place], min(maxWaiting, left))
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

// later reports whether version a comes after b; one that is no number does.
func later(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 63)
	y, errY := strconv.ParseUint(b, 10, 63)
	return errX != nil || errY != nil || x > y
}

// marksText is how marks are written.
type marksText struct {
	Epoch   int64        `json:"epoch"`
	Watches []Mark       `json:"watches,omitempty"`
	Since   []sinceEntry `json:"since,omitempty"`
}

// packed starts marks that would be long as plain JSON.
const packed = "zstd:"

// plainMarks is how long, in bytes, plain JSON may be.
const plainMarks = 4 << 10

// Text writes marks in one line.
func (m *Marks) Text(zip *object.Compressor) string {
	raw, err := json.Marshal(marksText{m.Epoch, m.Watches, m.Since.entries()})
	if err != nil {
		panic(err) // they hold texts and numbers
	}
	if len(raw) > plainMarks {
		return packed + base64.StdEncoding.EncodeToString(zip.Compress(raw))
	}
	return string(raw)
}

// ParseMarks reads what Text wrote.
func ParseMarks(text string, zip *object.Compressor) (*Marks, error) {
	raw := []byte(text)
	if body, ok := strings.CutPrefix(text, packed); ok {
		compressed, err := base64.StdEncoding.DecodeString(body)
		if err == nil {
			raw, err = zip.Decompress(compressed)
		}
		if err != nil {
			return nil, errors.New("the watermarks cannot be unpacked")
		}
	}
	var t marksText
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, errors.New("the watermarks are not what kwatchman writes")
	}
	m := &Marks{Epoch: t.Epoch, Watches: t.Watches, Since: Since{}}
	for _, e := range t.Since {
		m.Since[e.Name] = e.At
	}
	for _, w := range m.Watches {
		if w.Version == "" || w.Resource.Resource == "" || w.Resource.Version == "" {
			return nil, fmt.Errorf("the watermark of %.80q has no version or resource", w.Name)
		}
	}
	return m, nil
}

// entries lists since in order.
func (s Since) entries() []sinceEntry {
	out := make([]sinceEntry, 0, len(s))
	for _, name := range slices.SortedFunc(maps.Keys(s), func(a, b Name) int {
		return strings.Compare(a.Name+"/"+a.Namespace, b.Name+"/"+b.Namespace)
	}) {
		out = append(out, sinceEntry{name, s[name]})
	}
	return out
}
