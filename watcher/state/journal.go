package state

import (
	"context"
	"time"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// lazy is how long an acknowledgement may wait to be written together with
// others: each transaction waits for the disk.
const lazy = 10 * time.Millisecond

// maxBatch bounds in bytes what is recorded and not yet written.
const maxBatch = 1 << 20

// journal is a store in a file. What is recorded is collected in a batch while
// the one before is written, by one goroutine from newJournal until close.
type journal struct {
	*monitor
	file     *file
	handOver func([]*Queued) // called by the writer with what is written, without mu
	ended    chan struct{}   // closed once the writer has ended

	// Protected by mu.
	next     *batch      // what is recorded and not yet written
	inFlight *batch      // what is being written, or could not be; nil: nothing
	written  uint64      // the last batch that is written and handed over
	timer    *time.Timer // set while something is recorded that is not urgent
}

func newJournal(m *monitor, f *file, handOver func([]*Queued)) *journal {
	j := &journal{monitor: m, file: f, handOver: handOver, ended: make(chan struct{}), next: newBatch(1)}
	go j.write()
	return j
}

// write writes one batch after the other until the journal is closed and all is
// written, or until it has failed.
func (j *journal) write() {
	defer close(j.ended)
	for {
		b := j.take()
		if b == nil {
			return
		}
		err := j.file.commit(b)
		if err == nil {
			j.handOver(b.changes)
		}
		j.batchDone(b, err)
	}
}

// take waits for a batch to write; nil: there will be none.
func (j *journal) take() *batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.err == nil && !j.closed && !j.next.urgent {
		j.changed.Wait()
	}
	if j.timer != nil {
		j.timer.Stop()
		j.timer = nil
	}
	if j.err != nil || j.next.empty() {
		return nil
	}
	j.inFlight = j.next
	j.next = newBatch(j.inFlight.id + 1)
	j.changed.Broadcast() // there is room in the next
	return j.inFlight
}

// batchDone notes how the writing of a batch ended. Whoever waited for it finds
// its changes delivered.
func (j *journal) batchDone(b *batch, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.fail(err)
		return
	}
	j.inFlight, j.written = nil, b.id
	j.changed.Broadcast()
}

// scheduleWrite sees to it that the next batch is written, at once if it is
// urgent; the caller holds mu.
func (j *journal) scheduleWrite(urgent bool) {
	switch {
	case j.next.empty() || j.next.urgent:
	case urgent:
		j.next.urgent = true
		j.changed.Broadcast()
	case j.timer == nil:
		j.timer = time.AfterFunc(lazy, func() {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.scheduleWrite(true)
		})
	}
}

func (j *journal) hasRoom() bool { return j.next.bytes < maxBatch }

func (j *journal) record(t Tx, changes []*Queued) (written bool) {
	j.next.add(&t, changes)
	j.scheduleWrite(len(changes) > 0)
	return false
}

func (j *journal) keep(seq uint64, in *keptInput) {
	if j.over() {
		return
	}
	j.next.setInput(seq, in)
	j.scheduleWrite(false)
}

func (j *journal) remove(seq uint64) {
	if j.over() {
		return
	}
	j.next.done = append(j.next.done, seq)
	j.scheduleWrite(false)
}

// addDictionary records what the objects that come next are packed with.
func (j *journal) addDictionary(d dictionary) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.over() {
		return
	}
	j.next.dictionaries = append(j.next.dictionaries, d)
	j.scheduleWrite(false)
}

// over tells that nothing more will be written; the caller holds mu.
func (j *journal) over() bool { return j.err != nil || j.closed }

func (j *journal) flush(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	id := j.next.id
	if j.next.empty() {
		id--
	}
	j.scheduleWrite(true)
	return j.wait(ctx, func() bool { return j.written >= id })
}

// object looks into what is not written yet, then into the file.
func (j *journal) object(resource, key string, withManifest bool) (*object.Object, error) {
	if o, ok := j.recordedObject(objectID{resource, key}); ok {
		return o, nil
	}
	return j.file.object(resource, key, withManifest)
}

func (j *journal) recordedObject(id objectID) (o *object.Object, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if o, ok = j.next.objects[id]; !ok && j.inFlight != nil {
		o, ok = j.inFlight.objects[id]
	}
	return o, ok
}

// input looks into what is not written yet, then into the file.
func (j *journal) input(seq uint64) ([]byte, error) {
	if in, ok := j.recordedInput(seq); ok {
		if in == nil {
			return nil, nil
		}
		return in.input, nil
	}
	return j.file.input(seq)
}

func (j *journal) recordedInput(seq uint64) (in *keptInput, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if in, ok = j.next.inputs[seq]; !ok && j.inFlight != nil {
		in, ok = j.inFlight.inputs[seq]
	}
	return in, ok
}

func (j *journal) keys(resource string, each func(string)) error { return j.file.keys(resource, each) }
func (j *journal) change(seq uint64) (*Change, error)            { return j.file.change(seq) }
func (j *journal) size() int64                                   { return j.file.size() }
func (j *journal) writingSince() time.Time                       { return j.file.writingSince() }

func (j *journal) start(m meta, watches []Watch) error { return j.noted(j.file.start(m, watches)) }
func (j *journal) disown() error                       { return j.noted(j.file.disown()) }

func (j *journal) replace(w *Watch, objects []*object.Object, more bool) error {
	return j.noted(j.file.replace(w, objects, more))
}

// noted passes on the error of a write.
func (j *journal) noted(err error) error {
	if err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.fail(err)
	}
	return err
}

func (j *journal) close() error {
	<-j.ended
	return j.file.close()
}
