package state

import (
	"cmp"
	"context"
	"fmt"
	"maps"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// noEpoch stands for a state of which nobody knows whose it is.
const noEpoch int64 = -1

// Kept is what an earlier run knew: its watches, and since when it knew the
// names of the configuration; after Start, what this one does.
func (s *State) Kept() ([]Watch, Since) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started {
		return s.kept.watches, s.kept.since
	}
	out := make([]Watch, 0, len(s.current))
	for _, w := range s.current {
		out = append(out, *w)
	}
	return out, s.kept.since
}

// Claim checks that the state is that of a cluster, or of none yet.
func (s *State) Claim(c Cluster) error {
	was := s.kept.cluster
	if err := was.Admits(c); err != nil {
		return fmt.Errorf("state %s %w", s.path, err)
	}
	s.kept.cluster = Cluster{Name: c.Name, UID: cmp.Or(c.UID, was.UID)}
	return nil
}

// Admits tells why a state of this cluster cannot be that of another one.
func (was Cluster) Admits(c Cluster) error {
	known := was.UID != "" && c.UID != ""
	switch {
	case was == Cluster{}, known && was.UID == c.UID, !known && was.Name == c.Name:
		return nil
	case known:
		return fmt.Errorf("belongs to another cluster: its namespace kube-system has the UID %s, not %s: "+
			"give each cluster a KW_STATE_DIR of its own", was.UID, c.UID)
	}
	return fmt.Errorf("belongs to the cluster %s, not %s: give each cluster a KW_STATE_DIR of its own; "+
		"if it is the same one, set KW_CLUSTER_NAME to that name", was.Name, c.Name)
}

// Start begins a run with these watches, before Run: what they do not hold is
// forgotten, without a change. While Run is at work it begins another one, with
// what waits.
func (s *State) Start(ctx context.Context, watches []Watch, since Since) error {
	s.mu.Lock()
	again := s.started
	s.started = true
	s.kept.watches, s.kept.since = watches, since
	clear(s.current)
	for _, w := range watches {
		s.current[w.Place()] = &w
	}
	if s.marks != nil {
		s.marks.begin(watches)
	}
	started := *s.kept
	if again {
		s.next.started, s.next.goesOn = &started, true
		s.mu.Unlock()
		return s.Flush(ctx)
	}
	s.mu.Unlock()
	b := newBatch(0)
	b.started = &started
	return s.store.commit(b)
}

// Epoch is that of the leader that wrote the state; negative: nobody knows.
func (s *State) Epoch() int64 { return s.kept.epoch }

// SetEpoch says, before Start, whose state it becomes.
func (s *State) SetEpoch(epoch int64) { s.kept.epoch = epoch }

// Doubt takes back, before Start, whose state it is: what another leader has
// seen takes its place bit by bit.
func (s *State) Doubt() error {
	s.kept.epoch = noEpoch
	b := newBatch(0)
	b.doubted = true
	return s.store.commit(b)
}

// Replace puts objects, before Start, into the place of what was seen in the
// area of a watch; more adds to them.
func (s *State) Replace(w Watch, objects []*object.Object, more bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := newBatch(0)
	b.words, s.next.words = s.next.words, nil // what they are packed with
	if !more {
		b.instead = &w
	}
	for _, o := range objects {
		o.Settle()
		b.setObject(objectID{w.Place().String(), o.Key()}, o)
	}
	return s.store.commit(b)
}

// Adopt takes over, before Start, what another leader has left: its watches, and
// of what waits here only what keep wants.
func (s *State) Adopt(watches []Watch, since Since, keep func(place client.Place, version string) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept.watches = watches
	if s.kept.since == nil {
		s.kept.since = Since{}
	}
	maps.Copy(s.kept.since, since)
	b := newBatch(0)
	var queue []*Queued
	for _, q := range s.kept.queue {
		c, err := q.read()
		if err != nil {
			return err
		}
		if keep(c.place()) {
			queue = append(queue, q)
			continue
		}
		b.done = append(b.done, q.seq)
		s.events--
		s.bytes -= q.size
	}
	s.kept.queue = queue
	if len(b.done) == 0 {
		return nil
	}
	return s.store.commit(b)
}
