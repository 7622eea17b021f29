package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// The buckets of the file. objects has a bucket for each resource, named as
// deployments.apps; keys of the two queues are numbers in order.
var (
	bucketMeta    = []byte("meta")    // format, key, cluster, since, rules
	bucketWatches = []byte("watches") // resource|namespace → Watch
	bucketObjects = []byte("objects") // resource → namespace/name → object
	bucketQueue   = []byte("queue")   // number → change
	bucketInputs  = []byte("inputs")  // number → input of a later step; of one run only
	bucketWords   = []byte("words")   // resource → vocabulary; missing: there is none

	metaFormat  = []byte("format")
	metaKey     = []byte("key")
	metaCluster = []byte("cluster")
	metaSince   = []byte("since")
	metaRules   = []byte("rules") // of what is a credential, as a fingerprint
	metaEpoch   = []byte("epoch") // of the leader that wrote it; missing: nobody knows
)

// file is a store in a file of bbolt.
type file struct {
	path string
	db   *bolt.DB

	// Of the writer: when the mapped pages were last given back, and how many
	// bytes were written since.
	mapped  time.Time
	written int
}

func (f *file) object(resource, key string, whole bool) (o *object.Object, err error) {
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
		if whole {
			o, err = object.Parse(record)
		} else {
			o, err = object.Header(record)
		}
		return err
	})
	return o, err
}

func (f *file) keys(resource string, each func(string) bool) error {
	return f.view(func(tx *bolt.Tx) error {
		of := tx.Bucket(bucketObjects).Bucket([]byte(resource))
		if of == nil {
			return nil
		}
		c := of.Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if !each(string(k)) {
				break
			}
		}
		return nil
	})
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
		record, err := opened(raw)
		input = slices.Clone(record)
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

func (f *file) commit(b *batch) error {
	if b.writesNothing() { // it only trims
		f.giveBack()
		return nil
	}
	err := f.db.Update(func(tx *bolt.Tx) error {
		for _, write := range []func(*bolt.Tx, *batch) error{writeDoubt, writeStart, writeForget, writeWords, writeObjects, writeQueue, writeWatches} {
			if err := write(tx, b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("state: %w", cannotWrite(f.path, err))
	}
	f.written += b.bytes
	if b.trim || f.written > mapMuch || time.Since(f.mapped) > mapFor {
		f.giveBack()
	}
	return nil
}

// Pages of the file stay in the process's memory for mapFor, or until so many
// bytes were written.
const (
	mapFor  = time.Second
	mapMuch = 1 << 20
)

// giveBack keeps the process small: what is read of the file is the kernel's.
func (f *file) giveBack() {
	unmapped(f.db, f.used())
	f.mapped, f.written = time.Now(), 0
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

// writeWords writes what objects need to be unpacked.
func writeWords(tx *bolt.Tx, b *batch) error {
	if len(b.words) == 0 {
		return nil
	}
	words, err := tx.CreateBucketIfNotExists(bucketWords)
	if err != nil {
		return err
	}
	for _, v := range b.words {
		if err := put(words, []byte(v.resource), v.appendBinary); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketMeta).Put(metaFormat, []byte(format))
}

func writeObjects(tx *bolt.Tx, b *batch) error {
	all := tx.Bucket(bucketObjects)
	for _, id := range slices.SortedFunc(maps.Keys(b.objects), objectID.compare) {
		of, err := all.CreateBucketIfNotExists([]byte(id.resource))
		if err != nil {
			return err
		}
		of.FillPercent = 0.8 // lists come sorted
		o := b.objects[id]
		if o == nil {
			err = of.Delete([]byte(id.key))
		} else {
			err = put(of, []byte(id.key), o.AppendBinary)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a objectID) compare(b objectID) int {
	if c := strings.Compare(a.resource, b.resource); c != 0 {
		return c
	}
	return strings.Compare(a.key, b.key)
}

func writeQueue(tx *bolt.Tx, b *batch) error {
	queue, inputs := tx.Bucket(bucketQueue), tx.Bucket(bucketInputs)
	queue.FillPercent = 0.9 // numbers only grow
	for _, q := range b.changes {
		if err := put(queue, number(q.seq), q.change.appendBinary); err != nil {
			return err
		}
	}
	for seq, input := range b.inputs {
		var err error
		if input == nil {
			err = inputs.Delete(number(seq))
		} else {
			err = put(inputs, number(seq), func(b []byte) ([]byte, error) { return append(b, input...), nil })
		}
		if err != nil {
			return err
		}
	}
	for _, seq := range b.done {
		if err := errors.Join(queue.Delete(number(seq)), inputs.Delete(number(seq))); err != nil {
			return err
		}
	}
	return nil
}

func writeWatches(tx *bolt.Tx, b *batch) error {
	watches := tx.Bucket(bucketWatches)
	for p, w := range b.watches {
		key := []byte(p.String() + "|" + p.Namespace)
		var err error
		if w == nil {
			err = watches.Delete(key)
		} else {
			err = putJSON(watches, key, w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeStart writes what a run begins with and drops what it does not look at
// any more.
func writeStart(tx *bolt.Tx, b *batch) error {
	if b.started == nil {
		return nil
	}
	meta := tx.Bucket(bucketMeta)
	if err := errors.Join(putJSON(meta, metaCluster, b.started.cluster), putJSON(meta, metaSince, b.started.since.entries()),
		putJSON(meta, metaEpoch, b.started.epoch)); err != nil {
		return err
	}
	old := [][]byte{bucketWatches} // of the run that ended
	if !b.goesOn {
		old = append(old, bucketInputs)
	}
	for _, name := range old {
		if err := tx.DeleteBucket(name); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	watches := tx.Bucket(bucketWatches)
	for _, w := range b.started.watches {
		p := w.Place()
		if err := putJSON(watches, []byte(p.String()+"|"+p.Namespace), w); err != nil {
			return err
		}
	}
	return nil
}

// writeDoubt takes back whose state it is.
func writeDoubt(tx *bolt.Tx, b *batch) error {
	if !b.doubted {
		return nil
	}
	return tx.Bucket(bucketMeta).Delete(metaEpoch)
}

// writeForget drops the objects that nobody looks at any more.
func writeForget(tx *bolt.Tx, b *batch) error {
	if b.started == nil && b.instead == nil {
		return nil
	}
	all, areas := tx.Bucket(bucketObjects), b.started.areas()
	var gone [][]byte
	err := all.ForEachBucket(func(resource []byte) error {
		if b.started != nil && len(areas[string(resource)]) == 0 {
			gone = append(gone, slices.Clone(resource))
			return nil
		}
		if b.started == nil && string(resource) != b.instead.Place().String() {
			return nil
		}
		return forgetSome(all.Bucket(resource), func(key string) bool { return b.forgets(areas, string(resource), key) })
	})
	for _, resource := range gone {
		err = errors.Join(err, all.DeleteBucket(resource))
	}
	return err
}

func forgetSome(of *bolt.Bucket, forgets func(key string) bool) error {
	var gone [][]byte
	err := of.ForEach(func(k, _ []byte) error {
		if forgets(string(k)) {
			gone = append(gone, slices.Clone(k))
		}
		return nil
	})
	for _, k := range gone {
		err = errors.Join(err, of.Delete(k))
	}
	return err
}

// sinceEntry is an entry of Since as it is kept.
type sinceEntry struct {
	Name
	At int64
}

func put(b *bolt.Bucket, key []byte, fill func([]byte) ([]byte, error)) error {
	record, err := sealed(fill)
	if err != nil {
		return err
	}
	return b.Put(key, record)
}

func putJSON(b *bolt.Bucket, key []byte, v any) error {
	record, err := sealedJSON(v)
	if err != nil {
		return err
	}
	return b.Put(key, record)
}

func number(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func (f *file) size() int64 {
	info, err := os.Stat(f.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func (f *file) close() error { return f.db.Close() }
