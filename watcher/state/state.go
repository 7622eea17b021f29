// Package state keeps what the watcher must not forget: the objects that it saw
// last, the changes that are not acknowledged yet, how far each watch is, and
// the key of the hash for Secrets. It turns each new observation into the
// changes that it means. With a file all of it outlives the process: an object,
// its change and the version to resume at are written in one transaction, so
// that a crash at any instant neither loses nor invents a change.
package state

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kwatchman/kwatchman/internal/access"
	"github.com/kwatchman/kwatchman/internal/seldom"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/object/credential"
)

// Config says how a State works.
type Config struct {
	// Dir is where the state is kept; empty: in memory.
	Dir    string
	Events int // changes that may wait
	Bytes  int // of the changes that may wait
	// Rules say what is a credential; a state that was written under others is
	// written anew.
	Rules *credential.Rules
	// Compressor unpacks what was kept.
	Compressor *object.Compressor
	Logger     *slog.Logger // nil: nothing is logged
}

// Cluster is whose state it is.
type Cluster struct {
	Name string
	UID  string // of namespace kube-system; empty if it may not be read
}

// State keeps what the watcher must not forget. From Open to Close its methods
// may be called by several goroutines, where they do not say otherwise.
type State struct {
	*monitor
	limits  struct{ Events, Bytes int }
	codec   *object.Compressor
	log     *slog.Logger
	store   store
	path    string      // of the file; empty: in memory
	fullLog seldom.Line // that the queue is full

	// handing is held while the changes of the store are handed to deliver, so that
	// they stay in order. It comes before mu.
	handing sync.Mutex

	// Protected by mu, as is what monitor says of itself.
	kept    meta // but its key, which stays
	current map[client.Place]*Watch
	scopes  scopes
	queue   queue
	seq     uint64 // of the last change
	events  int    // in the queue
	bytes   int    // in the queue, with the inputs that are kept
	warm    int    // bytes of manifests that wait unpacked
	marks   *marks // nil: nobody follows them
	deliver func(*Queued)
}

// Open opens the state of cfg.Dir, which it makes if there is none, or one in
// memory. The error is one line that says what to do; a file is never replaced.
// Whoever opened it has to Close it.
func Open(cfg Config) (*State, error) {
	s := &State{
		monitor: newMonitor(), codec: cfg.Compressor, log: cfg.Logger, current: map[client.Place]*Watch{}, scopes: scopes{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.limits.Events, s.limits.Bytes = cfg.Events, cfg.Bytes
	if cfg.Dir == "" {
		s.store, s.kept = newMemory(), meta{key: object.RandomKey(), epoch: noEpoch}
		return s, nil
	}
	f, l, err := s.openRenewed(cfg)
	if err != nil {
		return nil, err
	}
	s.path = f.path
	s.goOn(l)
	j := newJournal(s.monitor, f, s.handOver)
	s.store = j
	s.codec.Keep(func(resource string, number uint32, text []byte) {
		j.addDictionary(dictionary{resource, number, s.codec.Compress(text)})
	})
	return s, nil
}

// goOn takes what an earlier process has left.
func (s *State) goOn(l *loaded) {
	s.kept, s.scopes = l.meta, l.scopes
	for _, w := range l.watches {
		s.current[w.Place()] = &w
	}
	for _, q := range l.queue {
		q.state = s
		s.queue.push(q)
		s.seq = q.seq
		s.events++
		s.bytes += q.size + q.kept.bytes()
	}
}

// Close writes what is recorded, ends the writing and gives the file back; again
// is no harm. Who waits for room gets an error, and what comes later is not
// recorded. The error is Err's, if the state could not be written.
func (s *State) Close() error {
	s.mu.Lock()
	s.closed = true
	s.changed.Broadcast()
	s.mu.Unlock()
	err := s.store.close()
	if failed := s.Err(); failed != nil {
		return failed
	}
	return err
}

// Failed is closed once the state cannot be written, which ends it: from then on
// everybody gets the error that Err gives, and nothing waits.
func (s *State) Failed() <-chan struct{} { return s.failed }

// Err says why the state cannot be written; nil: it can.
func (s *State) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Key is the key of the hash for Secrets.
func (s *State) Key() []byte { return s.kept.key }

// Durable tells whether the state outlives the process.
func (s *State) Durable() bool { return s.path != "" }

// Waiting is the number of changes that are not acknowledged.
func (s *State) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events
}

// WaitingBytes is the size of the changes that are not acknowledged, with the
// inputs that are kept for them.
func (s *State) WaitingBytes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Size is what the state takes in bytes: its file, or what is kept of objects in
// memory.
func (s *State) Size() int64 { return s.store.size() }

// slow is how long a write may take: a disk that takes longer is not there.
const slow = time.Minute

// Stuck says why the state can be taken for stuck; empty: it can be written.
func (s *State) Stuck(now time.Time) string {
	if s.Err() != nil {
		return "the state cannot be written"
	}
	if since := s.store.writingSince(); !since.IsZero() && now.Sub(since) > slow {
		return fmt.Sprintf("the state has not been written for %s", now.Sub(since).Round(time.Second))
	}
	return ""
}

// Writable says why what comes next could not be written; empty: it could.
func (s *State) Writable() string {
	if !s.Durable() {
		return ""
	}
	if err := access.Writable(s.path); err != nil {
		return "the state cannot be written"
	}
	return ""
}
