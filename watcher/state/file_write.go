package state

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// commit writes a batch as a whole or not at all.
func (f *file) commit(b *batch) error {
	return f.update(b.bytes, func(tx *bolt.Tx) error {
		for _, write := range []func(*bolt.Tx, *batch) error{writeDictionaries, writeObjects, writeQueue, writeWatches} {
			if err := write(tx, b); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeDictionaries writes what objects need to be unpacked.
func writeDictionaries(tx *bolt.Tx, b *batch) error {
	if len(b.dictionaries) == 0 {
		return nil
	}
	all, err := tx.CreateBucketIfNotExists(bucketDictionaries)
	if err != nil {
		return err
	}
	for _, d := range b.dictionaries {
		if err := put(all, []byte(d.resource), d.appendBinary); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketMeta).Put(metaFormat, []byte(format))
}

func writeObjects(tx *bolt.Tx, b *batch) error {
	for _, id := range slices.SortedFunc(maps.Keys(b.objects), objectID.compare) {
		if err := putObject(tx, id, b.objects[id]); err != nil {
			return err
		}
	}
	return nil
}

// putObject writes an object, or forgets it if it is nil.
func putObject(tx *bolt.Tx, id objectID, o *object.Object) error {
	of, err := tx.Bucket(bucketObjects).CreateBucketIfNotExists([]byte(id.resource))
	if err != nil {
		return err
	}
	of.FillPercent = 0.8 // lists come sorted
	if o == nil {
		return of.Delete([]byte(id.key))
	}
	return put(of, []byte(id.key), o.AppendBinary)
}

func writeQueue(tx *bolt.Tx, b *batch) error {
	queue, inputs := tx.Bucket(bucketQueue), tx.Bucket(bucketInputs)
	queue.FillPercent = 0.9 // numbers only grow
	for _, q := range b.changes {
		if err := put(queue, number(q.seq), q.change.appendBinary); err != nil {
			return err
		}
	}
	for seq, in := range b.inputs {
		var err error
		if in == nil {
			err = inputs.Delete(number(seq))
		} else {
			err = put(inputs, number(seq), in.appendBinary)
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
		key := []byte(placeKey(p))
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
