package state

import (
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// unmapped gives back the pages of the file that are mapped into the process:
// the kernel has them still, and maps again what is read. Without, a file as
// large as its queue has been stays in the process's memory. size must not pass
// what is mapped, behind which other memory may lie, and nobody may map the file
// anew meanwhile.
func unmapped(db *bolt.DB, size int64) {
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, db.Info().Data, uintptr(size), unix.MADV_DONTNEED) //nolint:gosec // a size is positive; an advice has no errors
}
