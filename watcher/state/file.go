package state

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// The buckets of the file. objects has a bucket for each resource, named as
// deployments.apps; keys of the two queues are numbers in order.
var (
	bucketMeta         = []byte("meta")    // format, key, cluster, since, rules
	bucketWatches      = []byte("watches") // resource|namespace → Watch
	bucketObjects      = []byte("objects") // resource → namespace/name → object
	bucketQueue        = []byte("queue")   // number → change
	bucketInputs       = []byte("inputs")  // number → input of a later step
	bucketDictionaries = []byte("words")   // resource → dictionary; missing: there is none

	metaFormat  = []byte("format")
	metaKey     = []byte("key")
	metaCluster = []byte("cluster")
	metaSince   = []byte("since")
	metaRules   = []byte("rules") // of what is a credential, as a fingerprint
	metaEpoch   = []byte("epoch") // of the leader that wrote it; missing: nobody knows
)

// file is what a journal writes to: a file of bbolt. Reads may come at any time.
type file struct {
	path string
	db   *bolt.DB
	// writeStarted is when the transaction that is under way began.
	writeStarted atomic.Pointer[time.Time]

	// mu is held for each transaction that writes, and while mapped pages are given
	// back: a write may map the file anew. It protects what follows.
	mu          sync.Mutex
	mapped      time.Time // when pages were last given back
	unreturned  int       // bytes that were written since
	staleInputs bool      // the next start drops inputs that nobody asks for
	closed      bool
}

func (f *file) object(resource, key string, withManifest bool) (o *object.Object, err error) {
	err = f.view(func(tx *bolt.Tx) error {
		of := tx.Bucket(bucketObjects).Bucket([]byte(resource))
		if of == nil {
			return nil
		}
		raw := of.Get([]byte(key))
		if raw == nil {
			return nil
		}
		record, err := opened(raw)
		if err != nil {
			return err
		}
		if withManifest {
			o, err = object.Parse(record)
		} else {
			o, err = object.Header(record)
		}
		return err
	})
	return o, err
}

func (f *file) keys(resource string, each func(string)) error {
	err := f.view(func(tx *bolt.Tx) error {
		of := tx.Bucket(bucketObjects).Bucket([]byte(resource))
		if of == nil {
			return nil
		}
		return of.ForEach(func(k, _ []byte) error {
			each(string(k))
			return nil
		})
	})
	f.trim()
	return err
}

func (f *file) change(seq uint64) (c *Change, err error) {
	err = f.view(func(tx *bolt.Tx) error {
		raw := tx.Bucket(bucketQueue).Get(number(seq))
		if raw == nil {
			return nil
		}
		record, err := opened(raw)
		if err == nil {
			c, err = parseChange(record)
		}
		return err
	})
	return c, err
}

func (f *file) input(seq uint64) (input []byte, err error) {
	err = f.view(func(tx *bolt.Tx) error {
		raw := tx.Bucket(bucketInputs).Get(number(seq))
		if raw == nil {
			return nil
		}
		in, err := openInput(raw)
		if in != nil {
			input = slices.Clone(in.input)
		}
		return err
	})
	return input, err
}

// view reads; the error says which file.
func (f *file) view(read func(*bolt.Tx) error) error {
	if err := f.db.View(read); err != nil {
		return fmt.Errorf("state %s: %w", f.path, err)
	}
	return nil
}

// update writes in one transaction; bytes is how much, nearly.
func (f *file) update(bytes int, write func(*bolt.Tx) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	started := time.Now()
	f.writeStarted.Store(&started)
	defer f.writeStarted.Store(nil)
	if err := f.db.Update(write); err != nil {
		return fmt.Errorf("state: %w", cannotWrite(f.path, err))
	}
	if f.unreturned += bytes; f.unreturned > mapMuch || time.Since(f.mapped) > mapFor {
		f.giveBack()
	}
	return nil
}

// writingSince is when the write that is under way began; zero: there is none.
func (f *file) writingSince() time.Time {
	if started := f.writeStarted.Load(); started != nil {
		return *started
	}
	return time.Time{}
}

// Pages of the file stay in the process's memory for mapFor, or until so many
// bytes were written.
const (
	mapFor  = time.Second
	mapMuch = 1 << 20
)

// trim gives back what a reading of everything has brought into memory.
func (f *file) trim() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.giveBack()
	}
}

// giveBack keeps the process small: what is read of the file is the kernel's.
// The caller holds mu.
func (f *file) giveBack() {
	unmapped(f.db, f.used())
	f.mapped, f.unreturned = time.Now(), 0
}

// used is how many bytes of the file hold pages. All of that is mapped; the
// file may be longer than what is mapped.
func (f *file) used() (size int64) {
	_ = f.db.View(func(tx *bolt.Tx) error { // fails only when closed: nothing is used then
		size = tx.Size()
		return nil
	})
	return size
}

func (f *file) size() int64 {
	info, err := os.Stat(f.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// close gives the file back, once what is under way has ended; again is no harm.
func (f *file) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.db.Close()
}
