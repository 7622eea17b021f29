package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/kwatchman/kwatchman/internal/access"
)

// Found is what Inspect says of a state.
type Found struct {
	Exists  bool
	Locked  bool // by another process, and so not looked into
	Waiting int  // changes in the queue
	Cluster Cluster
}

// Inspect looks into the state of a folder and changes nothing.
func Inspect(dir string) (Found, error) {
	path := filepath.Join(dir, FileName)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Found{}, creatable(dir)
	case err != nil:
		return Found{}, fmt.Errorf("KW_STATE_DIR: %w", cannotWrite(path, err))
	case !info.Mode().IsRegular():
		return Found{}, notRegular(path)
	}
	if err := access.Writable(path); err != nil {
		return Found{}, fmt.Errorf("state: %w", cannotWrite(path, err))
	}
	found, err := inspect(path, 100*time.Millisecond)
	if errors.Is(err, berrors.ErrTimeout) {
		return Found{Exists: true, Locked: true}, nil
	}
	found.Exists = true
	return found, err
}

// creatable tells why a folder could not be made or written into.
func creatable(dir string) error {
	there := dir
	for {
		info, err := os.Stat(there)
		if errors.Is(err, fs.ErrNotExist) && filepath.Dir(there) != there {
			there = filepath.Dir(there)
			continue
		}
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err == nil {
			err = access.Writable(there)
		}
		if err != nil {
			return fmt.Errorf("KW_STATE_DIR: %w", cannotWrite(there, err))
		}
		return nil
	}
}

func notRegular(path string) error {
	return fmt.Errorf("KW_STATE_DIR: %s is no regular file: it should be one that kwatchman makes itself", path)
}

// inspect reads everything once before bbolt may write: it would follow a
// broken page where nobody can catch its fall. The error may be
// berrors.ErrTimeout.
func inspect(path string, timeout time.Duration) (found Found, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a part of the file that is not there is a fault
	defer func() {
		if r := recover(); r != nil {
			err = damaged(path, errors.New("a page cannot be followed"))
		}
	}()
	info, err := os.Stat(path)
	if err != nil {
		return found, unusable(path, err)
	}
	if info.Size() == 0 {
		return found, damaged(path, errors.New("it is empty"))
	}
	db, err := bolt.Open(path, 0, &bolt.Options{ReadOnly: true, Timeout: timeout, NoStatistics: true})
	if errors.Is(err, berrors.ErrTimeout) {
		return found, err
	}
	if err != nil {
		return found, unusable(path, err)
	}
	defer func() { _ = db.Close() }()          // it was only read
	if info, err = os.Stat(path); err != nil { // whoever had it may have let it grow
		return found, unusable(path, err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("it has %d of %d bytes", info.Size(), tx.Size())
		}
		found.Cluster, found.Waiting, err = checkFile(path, db, tx)
		return err
	})
	if _, ok := errors.AsType[newerError](err); ok {
		return found, said(fmt.Sprintf("state %s %v", path, err))
	}
	if err != nil {
		return found, damaged(path, err)
	}
	return found, nil
}

// checkFile reads a file whole: its pages first, which the rest follows.
func checkFile(path string, db *bolt.DB, tx *bolt.Tx) (of Cluster, waiting int, err error) {
	if err := checkPages(path, db, tx); err != nil {
		return of, 0, err
	}
	if err := checkFormat(tx); err != nil {
		return of, 0, err
	}
	return checkAll(tx)
}

// checkPages reads the pages that a transaction sees.
func checkPages(path string, db *bolt.DB, tx *bolt.Tx) error {
	f, err := os.Open(path)
	if err != nil {
		return reason(err)
	}
	defer func() { _ = f.Close() }()
	p := &pages{file: f, size: db.Info().PageSize, seen: map[uint64]bool{}}
	p.high = uint64(tx.Size()) / uint64(p.size) //nolint:gosec // sizes are positive
	_, err = p.tree(uint64(tx.Cursor().Bucket().RootPage()), nil, nil, 0)
	return err
}

type newerError string

func (n newerError) Error() string {
	return fmt.Sprintf("has format %.20q, this kwatchman knows format %s: use the version that wrote it, or another KW_STATE_DIR", string(n), format)
}

func checkFormat(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil || meta.Get(metaFormat) == nil {
		return errors.New("it is a file of bbolt, but no state of kwatchman")
	}
	if f := string(meta.Get(metaFormat)); f != format && f != firstFormat {
		return newerError(f)
	}
	return nil
}

// checkAll reads every record.
func checkAll(tx *bolt.Tx) (of Cluster, waiting int, err error) {
	l, err := readMeta(tx)
	if err != nil {
		return of, 0, err
	}
	for _, name := range [][]byte{bucketWatches, bucketObjects, bucketQueue, bucketInputs} {
		if tx.Bucket(name) == nil {
			return of, 0, fmt.Errorf("bucket %s is missing", name)
		}
	}
	check := func(_, v []byte) error {
		_, err := opened(v)
		return err
	}
	objects := tx.Bucket(bucketObjects)
	err = objects.ForEach(func(resource, v []byte) error {
		if v != nil {
			return errors.New("an object has no resource")
		}
		return objects.Bucket(resource).ForEach(check)
	})
	if err != nil {
		return of, 0, err
	}
	if err := tx.Bucket(bucketInputs).ForEach(check); err != nil {
		return of, 0, err
	}
	err = tx.Bucket(bucketQueue).ForEach(func(k, v []byte) error {
		waiting++
		return check(k, v)
	})
	return l.cluster, waiting, err
}
