package state

// Break takes the file away from a state, so that no write succeeds any more.
func (s *State) Break() { _ = s.store.(*journal).file.db.Close() }
