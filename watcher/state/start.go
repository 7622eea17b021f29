package state

import (
	"cmp"
	"fmt"
)

// Kept is what an earlier run knew: its watches, and since when it knew the
// names of the configuration.
func (s *State) Kept() ([]Watch, Since) { return s.kept.watches, s.kept.since }

// Claim checks that the state is that of a cluster, or of none yet.
func (s *State) Claim(c Cluster) error {
	was := s.kept.cluster
	known := was.UID != "" && c.UID != ""
	switch {
	case was == Cluster{}, known && was.UID == c.UID, !known && was.Name == c.Name:
		s.kept.cluster = Cluster{Name: c.Name, UID: cmp.Or(c.UID, was.UID)}
		return nil
	case known:
		return fmt.Errorf("state %s belongs to another cluster (%s, of kube-system's UID %s): give each cluster a KW_STATE_DIR of its own",
			s.path, was.Name, was.UID)
	}
	return fmt.Errorf("state %s belongs to the cluster %s: give each cluster a KW_STATE_DIR of its own; "+
		"if it is the same one, set KW_CLUSTER_NAME to that name", s.path, was.Name)
}

// Start begins a run with these watches, before Run: what they do not hold is
// forgotten, without a change.
func (s *State) Start(watches []Watch, since Since) error {
	s.kept.watches, s.kept.since = watches, since
	b := newBatch(0)
	b.started = s.kept
	return s.store.commit(b)
}
