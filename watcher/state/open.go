package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/kwatchman/kwatchman/internal/access"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/object/credential"
)

// FileName is the state's in its folder.
const FileName = "state.db"

// lockTimeout is how long a start waits for another process to give the file
// back: one that is being replaced may be about to.
const lockTimeout = 5 * time.Second

// openFile opens the file in dir, or makes it.
func openFile(dir string, rules *credential.Rules) (*file, *kept, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("KW_STATE_DIR: %w", cannotWrite(dir, err))
	}
	path := filepath.Join(dir, FileName)
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(path, rules); err != nil {
			return nil, nil, fmt.Errorf("KW_STATE_DIR: %w", cannotWrite(path, err))
		}
	case err == nil && !info.Mode().IsRegular():
		return nil, nil, notRegular(path)
	}
	if _, err := inspect(path, lockTimeout); err != nil {
		return nil, nil, unusable(path, err)
	}
	// The freelist is found anew at the next open instead of being written with
	// each transaction: after a long queue it would be megabytes.
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoStatistics: true,
	})
	if err != nil {
		return nil, nil, unusable(path, err)
	}
	f := &file{path: path, db: db}
	k, err := f.load()
	if err != nil {
		_ = db.Close() // the error before says why
		return nil, nil, err
	}
	return f, k, nil
}

// create makes a new file whole, and only then gives it its name: a crash
// leaves no half of one.
func create(path string, rules *credential.Rules) error {
	temp, err := os.CreateTemp(filepath.Dir(path), FileName+".new-*")
	if err != nil {
		return err
	}
	_ = temp.Close() // nothing is written yet
	defer func() { _ = os.Remove(temp.Name()) }()
	db, err := bolt.Open(temp.Name(), 0o600, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketWatches, bucketObjects, bucketQueue, bucketInputs} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		return errors.Join(meta.Put(metaFormat, []byte(format)), meta.Put(metaRules, []byte(rules.Fingerprint())), put(meta, metaKey, func(b []byte) ([]byte, error) {
			return append(b, object.RandomKey()...), nil
		}))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	// Link, unlike Rename, never replaces a file that somebody made meanwhile.
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		if err := os.Rename(temp.Name(), path); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems cannot
		return err
	}
	return nil
}

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
		if err := checkPages(path, db, tx); err != nil {
			return err
		}
		if err := checkFormat(tx); err != nil {
			return err
		}
		found.Cluster, found.Waiting, err = checkAll(tx)
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
	meta, err := readMeta(tx)
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
	return meta.cluster, waiting, err
}

// load reads what a run begins with.
func (f *file) load() (k *kept, err error) {
	err = f.db.View(func(tx *bolt.Tx) error {
		if k, err = readMeta(tx); err != nil {
			return err
		}
		return tx.Bucket(bucketQueue).ForEach(func(key, v []byte) error {
			record, err := opened(v)
			if err != nil {
				return err
			}
			c, err := parseChange(record)
			if err != nil {
				return err
			}
			k.seq = binary.BigEndian.Uint64(key)
			k.queue = append(k.queue, &Queued{seq: k.seq, lane: c.Lane(), size: c.Size()})
			return nil
		})
	})
	if err != nil {
		return nil, damaged(f.path, err)
	}
	return k, nil
}

func readMeta(tx *bolt.Tx) (*kept, error) {
	meta, watches := tx.Bucket(bucketMeta), tx.Bucket(bucketWatches)
	if meta == nil || watches == nil {
		return nil, errors.New("a bucket is missing")
	}
	key, err := opened(meta.Get(metaKey))
	if err != nil {
		return nil, err
	}
	k := &kept{key: slices.Clone(key), since: Since{}, epoch: noEpoch}
	if raw := meta.Get(metaEpoch); raw != nil {
		if err := openedJSON(raw, &k.epoch); err != nil {
			return nil, err
		}
	}
	if raw := meta.Get(metaCluster); raw != nil {
		if err := openedJSON(raw, &k.cluster); err != nil {
			return nil, err
		}
	}
	if raw := meta.Get(metaSince); raw != nil {
		var since []sinceEntry
		if err := openedJSON(raw, &since); err != nil {
			return nil, err
		}
		for _, e := range since {
			k.since[e.Name] = e.At
		}
	}
	err = watches.ForEach(func(_, v []byte) error {
		var w Watch
		err := openedJSON(v, &w)
		k.watches = append(k.watches, w)
		return err
	})
	if words := tx.Bucket(bucketWords); err == nil && words != nil {
		err = words.ForEach(func(resource, v []byte) error {
			record, err := opened(v)
			if err != nil {
				return err
			}
			word, err := parseVocabulary(string(resource), record)
			k.words = append(k.words, word)
			return err
		})
	}
	return k, err
}
