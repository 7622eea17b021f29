package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/object/credential"
)

// FileName is the state's in its folder.
const FileName = "state.db"

// lockTimeout is how long a start waits for another process to give the file
// back: one that is being replaced may be about to.
const lockTimeout = 5 * time.Second

// openRenewed opens the file of cfg.Dir, and again if it had to be written anew.
func (s *State) openRenewed(cfg Config) (*file, *loaded, error) {
	f, l, err := openFile(cfg.Dir, cfg.Rules)
	if err != nil {
		return nil, nil, err
	}
	codec, err := object.NewCompressor() // what was learned under other rules ends with it
	if err == nil {
		err = teach(codec, l, f.path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.close())
	}
	again, err := f.renew(codec, l.key, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, f.close())
	}
	if again {
		s.log.Info("the state was written anew: other rules of what is a credential")
		_ = f.close() // it has no name any more
		if f, l, err = openFile(cfg.Dir, cfg.Rules); err != nil {
			return nil, nil, err
		}
	}
	if err := teach(s.codec, l, f.path); err != nil {
		return nil, nil, errors.Join(err, f.close())
	}
	return f, l, nil
}

// teach gives a codec what the objects of a state are packed with.
func teach(codec *object.Compressor, l *loaded, path string) error {
	for _, d := range l.dictionaries {
		text, err := codec.Decompress(d.text)
		if err == nil {
			err = codec.Teach(d.resource, d.number, text)
		}
		if err != nil {
			return damaged(path, err)
		}
	}
	return nil
}

// openFile opens the file in dir, or makes it.
func openFile(dir string, rules *credential.Rules) (*file, *loaded, error) {
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
	l, err := f.load()
	if err != nil {
		_ = db.Close() // the error before says why
		return nil, nil, err
	}
	return f, l, nil
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
