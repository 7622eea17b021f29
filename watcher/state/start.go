package state

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// noEpoch stands for a state of which nobody knows whose it is.
const noEpoch int64 = -1

// Kept is what is known: the watches, and since when the names of the
// configuration are followed; before Start, of an earlier process.
func (s *State) Kept() ([]Watch, Since) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Watch, 0, len(s.current))
	for _, p := range slices.SortedFunc(maps.Keys(s.current), comparePlaces) {
		out = append(out, *s.current[p])
	}
	return out, s.kept.since
}

func comparePlaces(a, b client.Place) int { return strings.Compare(placeKey(a), placeKey(b)) }

// placeKey is that of a watch in the file.
func placeKey(p client.Place) string { return p.String() + "|" + p.Namespace }

// Claim checks that the state is that of a cluster, or of none yet; Start writes
// it.
func (s *State) Claim(c Cluster) error {
	s.mu.Lock()
	defer s.mu.Unlock()
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

// Epoch is that of the leader that wrote the state; negative: nobody knows.
func (s *State) Epoch() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept.epoch
}

// SetEpoch says whose state it becomes with the next Start.
func (s *State) SetEpoch(epoch int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept.epoch = epoch
}

// Start begins a configuration with these watches: the objects that they do not
// hold are forgotten, without a change. It is called again for the next one. What
// waits stays, with the inputs that are kept for it. No source may record
// meanwhile, which holds for Disown and Replace too.
func (s *State) Start(ctx context.Context, watches []Watch, since Since) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.kept.since = maps.Clone(since)
	s.setCurrent(watches)
	if s.marks != nil {
		s.marks.begin(watches, slices.Collect(s.queue.all()))
	}
	m := s.kept
	s.mu.Unlock()
	return s.store.start(m, watches)
}

// setCurrent makes watches those that are known; the caller holds mu.
func (s *State) setCurrent(watches []Watch) {
	clear(s.current)
	for _, w := range watches {
		s.current[w.Place()] = &w
	}
}

// settle has all written that is recorded, before a write of its own.
func (s *State) settle(ctx context.Context) error {
	if err := s.Flush(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	return nil
}

// Disown takes back whose state it is, until the next Start: what another leader
// has seen takes its place bit by bit.
func (s *State) Disown(ctx context.Context) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	s.SetEpoch(noEpoch)
	return s.store.disown()
}

// Replace puts objects into the place of what was seen in the area of a watch;
// more adds to them. Those of several watches may be replaced at once.
func (s *State) Replace(ctx context.Context, w Watch, objects []*object.Object, more bool) error {
	if err := s.settle(ctx); err != nil { // with it, what the objects are packed with
		return err
	}
	for _, o := range objects {
		o.Settle()
	}
	return s.store.replace(&w, objects, more)
}

// Adopt takes over, before Start, what another leader has left: Kept gives its
// watches from now on, and its since with the own. It writes nothing.
func (s *State) Adopt(watches []Watch, since Since) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setCurrent(watches)
	merged := maps.Clone(s.kept.since)
	if merged == nil {
		merged = Since{}
	}
	maps.Copy(merged, since)
	s.kept.since = merged
}
