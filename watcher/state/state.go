// Package state keeps what the watcher must not forget: the objects that it saw
// last, the changes that are not acknowledged yet, how far each watch is, and
// the key of the hash for Secrets. It turns each new observation into the
// changes that it means. With a file all of it outlives the process: an object,
// its change and the version to resume at are written in one transaction, so
// that a crash at any instant neither loses nor invents a change.
package state

import (
	"errors"
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
	Logger     *slog.Logger
}

// Cluster is whose state it is.
type Cluster struct {
	Name string
	UID  string // of namespace kube-system; empty if it may not be read
}

// State keeps what the watcher must not forget. Its methods may be called by
// several goroutines; Run does the writing.
type State struct {
	limits struct{ Events, Bytes int }
	zip    *object.Compressor
	log    *slog.Logger
	store  store
	kept   *kept
	path   string // of the file, for errors

	mu      sync.Mutex
	moved   sync.Cond // room, something to write, written, or failed
	next    *batch    // what is recorded and not yet written
	flying  *batch    // what is being written; nil: nothing
	flew    time.Time // since when
	written uint64    // the last batch that is
	seq     uint64    // of the last change
	events  int
	bytes   int
	warm    int // bytes of manifests that wait unpacked
	current map[client.Place]*Watch
	started bool        // Start was called
	marks   *marks      // nil: nobody follows them
	timer   *time.Timer // set while something is not urgent
	deliver func(*Queued)
	// inline tells that nothing has to wait for a disk and Run has done what came
	// before: who records something also writes and delivers it.
	inline bool
	closed bool
	err    error
	said   seldom.Line
}

// Open opens the state of cfg.Dir, which it makes if there is none, or one in
// memory. The error is one line that says what to do; a file is never replaced.
func Open(cfg Config) (*State, error) {
	s := &State{zip: cfg.Compressor, log: cfg.Logger, next: newBatch(1), current: map[client.Place]*Watch{}}
	s.limits.Events, s.limits.Bytes = cfg.Events, cfg.Bytes
	s.moved.L = &s.mu
	if cfg.Dir == "" {
		s.store, s.kept = newMemory(), &kept{key: object.RandomKey(), epoch: noEpoch}
		return s, nil
	}
	f, k, err := s.openFile(cfg)
	if err != nil {
		return nil, err
	}
	s.store, s.kept, s.path = f, k, f.path
	s.seq, s.events = k.seq, len(k.queue)
	for _, q := range k.queue {
		q.state = s
		s.bytes += q.size
	}
	s.zip.Keep(s.keepWords)
	return s, nil
}

// openFile opens the file, and again if it had to be written anew.
func (s *State) openFile(cfg Config) (*file, *kept, error) {
	f, k, err := openFile(cfg.Dir, cfg.Rules)
	if err != nil {
		return nil, nil, err
	}
	zip, err := object.NewCompressor() // what was learned under other rules ends with it
	if err == nil {
		err = learn(zip, k, f.path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.close())
	}
	again, err := f.renew(zip, k.key, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, f.close())
	}
	if again {
		if s.log != nil {
			s.log.Info("the state was written anew: other rules of what is a credential")
		}
		_ = f.close() // it has no name any more
		if f, k, err = openFile(cfg.Dir, cfg.Rules); err != nil {
			return nil, nil, err
		}
	}
	if err := learn(s.zip, k, f.path); err != nil {
		return nil, nil, errors.Join(err, f.close())
	}
	k.words = nil
	return f, k, nil
}

// learn teaches what the objects of a state are packed with.
func learn(zip *object.Compressor, k *kept, path string) error {
	for _, v := range k.words {
		text, err := zip.Decompress(v.text)
		if err == nil {
			err = zip.Teach(v.resource, v.number, text)
		}
		if err != nil {
			return damaged(path, err)
		}
	}
	return nil
}

// keepWords records what the objects that come next are packed with.
func (s *State) keepWords(resource string, number uint32, text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.words = append(s.next.words, vocabulary{resource, number, s.zip.Compress(text)})
	s.hurry(false)
}

// Key is the key of the hash for Secrets.
func (s *State) Key() []byte { return s.kept.key }

// Durable tells whether the state outlives the process.
func (s *State) Durable() bool { return s.path != "" }

// Queue hands over the changes that an earlier run left, oldest first.
func (s *State) Queue() []*Queued {
	queue := s.kept.queue
	s.kept.queue = nil
	return queue
}

// lazy is how long an acknowledgement may wait to be written together with
// others: each transaction waits for the disk.
const lazy = 10 * time.Millisecond

// hurry sees to it that the next batch is written, at once if it is urgent; the
// caller holds mu, and delivers what it gives once mu is free.
func (s *State) hurry(urgent bool) []*Queued {
	if s.inline {
		b := s.next
		_ = s.store.commit(b) // in memory: it does not fail
		changes := b.changes
		s.written = b.id
		b.reset()
		return changes
	}
	if urgent {
		s.next.urgent = true
		s.moved.Broadcast()
		return nil
	}
	if s.timer == nil && !s.next.urgent {
		s.timer = time.AfterFunc(lazy, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.hurry(true)
		})
	}
	return nil
}

// trim asks that what a reading of everything has brought into memory goes.
func (s *State) trim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next.trim = true
	s.hurry(false)
}

// Run writes what is recorded and hands each change that is written to
// deliver, which must not wait, until Close. An error means that the state
// cannot be written, and is what everybody else gets from then on.
func (s *State) Run(deliver func(*Queued)) error {
	s.mu.Lock()
	s.deliver = deliver
	s.mu.Unlock()
	for {
		b := s.take()
		if b == nil {
			return nil
		}
		err := s.store.commit(b)
		if err == nil {
			s.hand(b.changes)
		}
		s.ended(b, err)
		if err != nil {
			return err
		}
	}
}

// hand delivers changes that are written.
func (s *State) hand(changes []*Queued) {
	for _, q := range changes {
		q.written()
		s.deliver(q)
	}
}

// ended notes how the writing of a batch ended. Whoever waited for it finds its
// changes delivered.
func (s *State) ended(b *batch, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; err == nil {
		s.flying, s.written = nil, b.id
	}
	s.moved.Broadcast()
}

// take waits for a batch to write; nil when the state is closed and everything
// is written.
func (s *State) take() *batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && (!s.next.urgent || s.next.empty()) {
		s.next.urgent = s.next.urgent && !s.next.empty()
		s.inline = !s.Durable() && s.next.empty()
		s.moved.Wait()
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if s.next.empty() {
		return nil
	}
	s.flying, s.flew = s.next, time.Now()
	s.next = newBatch(s.flying.id + 1)
	s.moved.Broadcast() // there is room in the next
	return s.flying
}

// Close lets Run end once everything is written.
func (s *State) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.moved.Broadcast()
}

// Release gives the file back. Run has to have ended.
func (s *State) Release() error { return s.store.close() }

// Waiting is the number of changes that are not acknowledged.
func (s *State) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events
}

// WaitingBytes is the size of the changes that are not acknowledged.
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

// Stuck says why the state can be taken for stuck; empty: it can be written. It
// may be called at any time.
func (s *State) Stuck(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return "the state cannot be written"
	case s.flying != nil && now.Sub(s.flew) > slow:
		return fmt.Sprintf("the state has not been written for %s", now.Sub(s.flew).Round(time.Second))
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
