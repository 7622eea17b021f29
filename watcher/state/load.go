package state

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// load reads what a process goes on with.
func (f *file) load() (l *loaded, err error) {
	err = f.db.View(func(tx *bolt.Tx) error {
		if l, err = readMeta(tx); err != nil {
			return err
		}
		if err := l.readQueue(tx.Bucket(bucketQueue)); err != nil {
			return err
		}
		f.staleInputs, err = l.readInputs(tx.Bucket(bucketInputs))
		return err
	})
	if err != nil {
		return nil, damaged(f.path, err)
	}
	return l, nil
}

// readMeta reads all but what waits.
func readMeta(tx *bolt.Tx) (*loaded, error) {
	of, watches := tx.Bucket(bucketMeta), tx.Bucket(bucketWatches)
	if of == nil || watches == nil {
		return nil, errors.New("a bucket is missing")
	}
	key, err := opened(of.Get(metaKey))
	if err != nil {
		return nil, err
	}
	l := &loaded{meta: meta{key: slices.Clone(key), since: Since{}, epoch: noEpoch}, scopes: scopes{}}
	var since []sinceEntry
	for name, into := range map[string]any{string(metaEpoch): &l.epoch, string(metaCluster): &l.cluster, string(metaSince): &since} {
		if raw := of.Get([]byte(name)); raw != nil {
			if err := openedJSON(raw, into); err != nil {
				return nil, err
			}
		}
	}
	for _, e := range since {
		l.since[e.Name] = e.At
	}
	err = watches.ForEach(func(_, v []byte) error {
		var w Watch
		err := openedJSON(v, &w)
		l.watches = append(l.watches, w)
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, l.readDictionaries(tx.Bucket(bucketDictionaries))
}

func (l *loaded) readDictionaries(all *bolt.Bucket) error {
	if all == nil {
		return nil
	}
	return all.ForEach(func(resource, v []byte) error {
		record, err := opened(v)
		if err != nil {
			return err
		}
		d, err := parseDictionary(string(resource), record)
		l.dictionaries = append(l.dictionaries, d)
		return err
	})
}

// readQueue reads the changes, of which only what the queue needs is kept.
func (l *loaded) readQueue(all *bolt.Bucket) error {
	return all.ForEach(func(key, v []byte) error {
		record, err := opened(v)
		if err != nil {
			return err
		}
		c, err := parseChange(record)
		if err != nil {
			return err
		}
		q := newQueued(nil, binary.BigEndian.Uint64(key), c, l.scopes.share(c.scope))
		q.written = true
		l.queue = append(l.queue, q)
		return nil
	})
}

// readInputs gives the changes of the queue the inputs that are kept for them;
// stale: there are others, of older versions or without a change.
func (l *loaded) readInputs(all *bolt.Bucket) (stale bool, err error) {
	texts := map[string]string{} // each once: most changes wait at the same step
	err = all.ForEach(func(key, record []byte) error {
		in, err := openInput(record)
		if err != nil {
			return err
		}
		i, ok := slices.BinarySearchFunc(l.queue, binary.BigEndian.Uint64(key), func(q *Queued, seq uint64) int { return cmp.Compare(q.seq, seq) })
		if in == nil || !ok {
			stale = true
			return nil
		}
		if _, ok := texts[in.before]; !ok {
			texts[in.before] = in.before
		}
		l.queue[i].kept = &keptRef{step: in.step, before: texts[in.before], size: len(in.input)}
		return nil
	})
	return stale, err
}
