package state

import (
	"errors"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// start writes what a configuration begins with, and drops what it does not look
// at any more.
func (f *file) start(m meta, watches []Watch) error {
	return f.update(0, func(tx *bolt.Tx) error {
		if err := errors.Join(putMeta(tx, m), putWatches(tx, watches), forgetOthers(tx, watches)); err != nil {
			return err
		}
		if !f.staleInputs {
			return nil
		}
		f.staleInputs = false
		return dropStaleInputs(tx)
	})
}

func putMeta(tx *bolt.Tx, m meta) error {
	of := tx.Bucket(bucketMeta)
	return errors.Join(putJSON(of, metaCluster, m.cluster), putJSON(of, metaSince, m.since.entries()), putJSON(of, metaEpoch, m.epoch))
}

// putWatches replaces those of the configuration before.
func putWatches(tx *bolt.Tx, watches []Watch) error {
	if err := tx.DeleteBucket(bucketWatches); err != nil {
		return err
	}
	all, err := tx.CreateBucket(bucketWatches)
	for _, w := range watches {
		if err == nil {
			err = putJSON(all, []byte(placeKey(w.Place())), w)
		}
	}
	return err
}

// forgetOthers drops the objects that no watch holds.
func forgetOthers(tx *bolt.Tx, watches []Watch) error {
	all, areas := tx.Bucket(bucketObjects), areasOf(watches)
	var gone [][]byte
	err := all.ForEachBucket(func(resource []byte) error {
		area := areas[string(resource)]
		if len(area) == 0 {
			gone = append(gone, slices.Clone(resource))
			return nil
		}
		return forget(all.Bucket(resource), func(key, _ []byte) bool { return !holdsKey(area, string(key)) })
	})
	for _, resource := range gone {
		err = errors.Join(err, all.DeleteBucket(resource))
	}
	return err
}

// dropStaleInputs drops the inputs that are of an older version, or whose change
// is not there.
func dropStaleInputs(tx *bolt.Tx) error {
	queue := tx.Bucket(bucketQueue)
	return forget(tx.Bucket(bucketInputs), func(seq, record []byte) bool {
		return queue.Get(seq) == nil || !hasStep(record)
	})
}

// replace puts objects into the place of those in the area of a watch; more adds
// to them.
func (f *file) replace(w *Watch, objects []*object.Object, more bool) error {
	bytes := 0
	for _, o := range objects {
		bytes += o.Size()
	}
	resource := w.Place().String()
	return f.update(bytes, func(tx *bolt.Tx) error {
		if of := tx.Bucket(bucketObjects).Bucket([]byte(resource)); of != nil && !more {
			if err := forget(of, func(key, _ []byte) bool { return holdsKey([]Watch{*w}, string(key)) }); err != nil {
				return err
			}
		}
		for _, o := range objects {
			if err := putObject(tx, objectID{resource, o.Key()}, o); err != nil {
				return err
			}
		}
		return nil
	})
}

// disown takes back whose state it is.
func (f *file) disown() error {
	return f.update(0, func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Delete(metaEpoch) })
}

// forget deletes some of a bucket's records.
func forget(of *bolt.Bucket, gone func(key, record []byte) bool) error {
	var keys [][]byte
	err := of.ForEach(func(k, v []byte) error {
		if gone(k, v) {
			keys = append(keys, slices.Clone(k))
		}
		return nil
	})
	for _, k := range keys {
		err = errors.Join(err, of.Delete(k))
	}
	return err
}
