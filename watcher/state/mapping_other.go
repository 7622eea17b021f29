//go:build !linux

package state

import bolt "go.etcd.io/bbolt"

// unmapped is for Linux, whose way of it this is.
func unmapped(*bolt.DB, int64) {}
