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
// forgotten, without a change.
func (s *State) Start(watches []Watch, since Since) error {
	s.kept.watches, s.kept.since = watches, since
	b := newBatch(0)
	b.started = s.kept
	return s.store.commit(b)
}
