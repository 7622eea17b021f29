package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// renewEach is how many records one transaction writes.
const renewEach = 1000

// renew writes the file anew where it was written under other rules of what is
// a credential: what is one now must neither stay on the disk, in pages that
// are free not even, nor leave as the old manifest of a change. The new file
// takes the old one's name when it is whole. False: there was nothing to do.
func (f *file) renew(codec *object.Compressor, key []byte, cfg Config) (again bool, err error) {
	rules := []byte(cfg.Rules.Fingerprint())
	fresh := false
	err = f.view(func(tx *bolt.Tx) error {
		fresh = bytes.Equal(tx.Bucket(bucketMeta).Get(metaRules), rules)
		return nil
	})
	if err != nil || fresh {
		return false, err
	}
	temp, err := os.CreateTemp(filepath.Dir(f.path), FileName+".new-*")
	if err != nil {
		return false, cannotWrite(f.path, err)
	}
	_ = temp.Close() // nothing is written yet
	defer func() { _ = os.Remove(temp.Name()) }()
	db, err := bolt.Open(temp.Name(), 0o600, &bolt.Options{NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return false, cannotWrite(temp.Name(), err)
	}
	c := &copier{to: db, codec: codec, redactor: object.NewRedactor(key, cfg.Rules)}
	err = f.view(func(tx *bolt.Tx) error { return c.all(tx, rules) })
	if err = errors.Join(err, db.Close()); err != nil {
		return false, fmt.Errorf("state %s: write it anew under other rules of what is a credential: %w", f.path, err)
	}
	if err := os.Rename(temp.Name(), f.path); err != nil {
		return false, cannotWrite(f.path, err)
	}
	return true, syncDir(filepath.Dir(f.path))
}

// copier copies a state.
type copier struct {
	to       *bolt.DB
	codec    *object.Compressor
	redactor *object.Redactor
}

func (c *copier) all(tx *bolt.Tx, rules []byte) error {
	for _, name := range [][]byte{bucketWatches, bucketObjects, bucketQueue, bucketInputs} {
		if err := c.create(name); err != nil {
			return err
		}
	}
	if err := c.bucket(tx.Bucket(bucketWatches), nil, bucketWatches); err != nil {
		return err
	}
	objects := tx.Bucket(bucketObjects)
	err := objects.ForEach(func(resource, _ []byte) error {
		return c.bucket(objects.Bucket(resource), c.object, bucketObjects, resource)
	})
	if err != nil {
		return err
	}
	if err := c.bucket(tx.Bucket(bucketQueue), c.change, bucketQueue); err != nil {
		return err
	}
	// Inputs of later steps stay behind: nobody can renew what other handlers made.
	// Their changes begin at the first step.
	if err := c.bucket(tx.Bucket(bucketMeta), nil, bucketMeta); err != nil {
		return err
	}
	return c.to.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaRules, rules) })
}

func (c *copier) create(name []byte) error {
	return c.to.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(name)
		return err
	})
}

// bucket copies a bucket to where path leads; renew, if not nil, writes each
// record anew.
func (c *copier) bucket(from *bolt.Bucket, renew func([]byte) ([]byte, error), path ...[]byte) error {
	cursor := from.Cursor()
	for key, value := cursor.First(); ; {
		err := c.to.Update(func(tx *bolt.Tx) error {
			to, err := tx.CreateBucketIfNotExists(path[0])
			for _, name := range path[1:] {
				if err == nil {
					to, err = to.CreateBucketIfNotExists(name)
				}
			}
			for n := 0; err == nil && key != nil && n < renewEach; n++ {
				record := value
				if renew != nil {
					if record, err = renew(value); err != nil {
						return err
					}
				}
				err = to.Put(key, record)
				key, value = cursor.Next()
			}
			return err
		})
		if err != nil || key == nil {
			return err
		}
	}
}

func (c *copier) object(sealedRecord []byte) ([]byte, error) {
	record, err := opened(sealedRecord)
	if err != nil {
		return nil, err
	}
	o, err := object.Parse(record)
	if err == nil {
		o, err = c.redactor.Renew(c.codec, o)
	}
	if err != nil {
		return nil, err
	}
	return sealed(o.AppendBinary)
}

func (c *copier) change(sealedRecord []byte) ([]byte, error) {
	record, err := opened(sealedRecord)
	if err != nil {
		return nil, err
	}
	change, err := parseChange(record)
	if err != nil {
		return nil, err
	}
	for _, o := range []**object.Object{&change.old, &change.now} {
		if *o != nil {
			if *o, err = c.redactor.Renew(c.codec, *o); err != nil {
				return nil, err
			}
		}
	}
	return sealed(change.appendBinary)
}
