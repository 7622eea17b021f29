package state

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// Marks say up to where all changes are acknowledged. They are what a leader
// leaves to the next one, which lists the objects as they were there.
type Marks struct {
	Epoch   int64 // of the leader that wrote them
	Watches []Mark
	Since   Since
}

// Mark is that of one watch: Version is the resourceVersion up to which all is
// acknowledged.
type Mark struct {
	Watch
	// At, in Unix seconds, is when that was so, at the latest: what was created
	// later was not seen.
	At int64
	// Seen is the version up to which all was seen, where that is another one
	// because changes wait. One that waits for long must not cost the others their
	// history.
	Seen string `json:",omitempty"`
}

// clocks is by how much those of two machines may differ in seconds.
const clocks = 10

// marks follow the watches while changes are on their way.
type marks struct {
	places map[client.Place]*placeMarks
	// inherited is how many changes of an earlier run are not acknowledged; until
	// then the marks of then hold.
	inherited int
	then      map[client.Place]Mark
}

// placeMarks are those of one watch.
type placeMarks struct {
	last    *Watch // with the newest version that is recorded
	at      int64  // when it was
	between bool   // a list is being compared, so that last is of before
	queue   []*unmarked
	dropped bool
}

// unmarked is a change that is not acknowledged, with what is when it is the
// oldest.
type unmarked struct {
	base    *Watch
	version string
	at      int64
	done    bool
	place   *placeMarks // nil: of an earlier run
}

// Follow has the state keep the marks, before Start. then are those that hold
// until the changes that an earlier run left are acknowledged.
func (s *State) Follow(then *Marks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marks = &marks{places: map[client.Place]*placeMarks{}, then: map[client.Place]Mark{}, inherited: s.events}
	for _, m := range then.Watches {
		s.marks.then[m.Place()] = m
	}
	for q := range s.queue.all() {
		q.unmarked = &unmarked{}
	}
}

// begin takes the watches that a run begins with; the caller holds mu.
func (m *marks) begin(watches []Watch) {
	now := time.Now().Unix()
	before := m.places
	m.places = map[client.Place]*placeMarks{}
	for _, w := range watches {
		p := w.Place()
		of := before[p]
		if of == nil {
			of = &placeMarks{at: now}
		}
		of.set(&w, now)
		m.places[p] = of
	}
}

// set records how far a watch is.
func (p *placeMarks) set(w *Watch, now int64) {
	if p.between = w.Version == ""; !p.between {
		p.last, p.at = w, now
	}
}

// recorded follows a transaction; the caller holds mu.
func (m *marks) recorded(t *Tx, changes []*Queued) {
	now := time.Now().Unix()
	if len(changes) > 0 {
		p := m.places[t.place]
		if p == nil {
			p = &placeMarks{at: now}
			m.places[t.place] = p
		}
		for _, q := range changes {
			u := &unmarked{at: p.at, place: p}
			if p.last != nil {
				u.version, u.base = p.last.Version, p.last
			}
			p.queue = append(p.queue, u)
			q.unmarked = u
		}
	}
	for _, w := range t.watches {
		p := m.places[w.Place()]
		if p == nil {
			p = &placeMarks{at: now}
			m.places[w.Place()] = p
		}
		p.dropped = false
		p.set(w, now)
	}
	for _, place := range t.gone {
		if p := m.places[place]; p != nil {
			p.dropped = true
		}
	}
}

// acknowledged follows the end of a change; the caller holds mu.
func (m *marks) acknowledged(u *unmarked) {
	u.done = true
	if u.place == nil {
		m.inherited--
		return
	}
	q := u.place.queue
	for len(q) > 0 && q[0].done {
		q[0] = nil
		q = q[1:]
	}
	u.place.queue = q
}

// mark is that of a watch; false: there is none yet, or none any more.
func (p *placeMarks) mark(now int64) (Mark, bool) {
	switch {
	case len(p.queue) > 0:
		u := p.queue[0]
		if u.base == nil {
			return Mark{}, false
		}
		m := Mark{Watch: *u.base, At: u.at - clocks}
		if !p.between && p.last.Version != m.Version {
			m.Seen = p.last.Version
		}
		return m, true
	case p.last == nil || p.dropped:
		return Mark{}, false
	case p.between:
		return Mark{Watch: *p.last, At: p.at - clocks}, true
	}
	return Mark{Watch: *p.last, At: now - clocks}, true
}

// Marks are those of this moment, for the leader of an epoch.
func (s *State) Marks(epoch int64) *Marks {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &Marks{Epoch: epoch, Since: s.kept.since}
	if s.marks == nil {
		return out
	}
	now := time.Now().Unix()
	for place, p := range s.marks.places {
		m, ok := p.mark(now)
		if s.marks.inherited > 0 {
			m, ok = s.marks.then[place]
		}
		if ok {
			out.Watches = append(out.Watches, m)
		}
	}
	slices.SortFunc(out.Watches, func(a, b Mark) int {
		x, y := a.Place(), b.Place()
		return strings.Compare(x.String()+"/"+x.Namespace, y.String()+"/"+y.Namespace)
	})
	return out
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
