package watcher

import (
	"context"
	"errors"
	"strings"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/source"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// waitingReader reads the waiting changes of one mark again.
type waitingReader struct {
	takeover *takeover
	watch    state.Watch
	past     pastReader
	seen     *state.Seen

	unread, merged int    // objects of which nothing can be read; of which not all can
	first          string // of them
	why            error  // it cannot
}

// take queues the changes of one object: those that this watcher has itself, and
// what followed them from the API server's history.
func (r *waitingReader) take(ctx context.Context, o state.WaitingObject) error {
	t := r.takeover
	own := t.match(r.watch, o)
	from, deleted := o.From, o.Deleted
	for _, q := range own {
		if from = q.To(); from == "" && len(deleted) > 0 {
			deleted = deleted[1:]
		}
	}
	if len(own) > 0 && from == o.To && len(deleted) == 0 {
		return nil // all of them
	}
	namespace, name, _ := strings.Cut(o.Key, "/")
	states, whole, err := r.past.States(ctx, namespace, name, from, deleted, o.To)
	if gone, ok := errors.AsType[*source.GoneError](err); ok {
		r.note(o, false, gone)
		return nil
	}
	if err != nil {
		return err
	}
	return r.put(ctx, o, from, states, whole)
}

// put queues what the states of an object tell, as far as they could be read.
func (r *waitingReader) put(ctx context.Context, o state.WaitingObject, from string, states []*object.Object, whole bool) error {
	if len(states) > 1 && states[0] == nil && from != "" {
		states = states[1:] // with nothing to compare the first one with
	}
	if len(states) < 2 {
		r.note(o, false, errNoHistory)
		return nil
	}
	if !whole {
		r.note(o, true, errNoHistory)
	}
	for i, s := range states {
		var tx state.Tx
		tx.Force = true // the leader before had room for them
		var err error
		switch {
		case i == 0 && s == nil:
			r.seen.Forget(&tx, o.Key)
		case i == 0:
			r.seen.Baseline(&tx, s)
		case s == nil:
			err = r.seen.Remove(&tx, o.Key, event.ViaRelist)
		default:
			err = r.seen.Put(&tx, s, event.ViaRelist)
		}
		if err == nil {
			err = r.takeover.state.Apply(ctx, &tx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errNoHistory = errors.New("the API server does not have their states any more")

// note counts changes that cannot be read. Who has them in a state may tell them
// later.
func (r *waitingReader) note(o state.WaitingObject, partly bool, why error) {
	if r.first == "" {
		r.first = strings.TrimPrefix(o.Key, "/")
	}
	if r.why == nil {
		r.why = why
	}
	if partly {
		r.merged++
		return
	}
	r.unread++
	t := r.takeover
	t.mu.Lock()
	defer t.mu.Unlock()
	t.owed = append(t.owed, state.Owed{Watch: r.watch, WaitingObject: o})
}

// match finds, among the changes that wait here, those that an object of a mark
// waits with: from the first one that tells of the version that was acknowledged
// last, at most to its newest one. What is behind that comes by the watch.
func (t *takeover) match(w state.Watch, o state.WaitingObject) []*state.Queued {
	all := t.own[waitingKey{w.Place().String(), o.Key}]
	for i, q := range all {
		if q.From() != o.From {
			continue
		}
		matched, ok := matching(all[i:], o)
		if !ok {
			continue
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, q := range matched {
			t.told[q] = true
		}
		return matched
	}
	return nil
}

// matching are the first of some changes, up to the newest version of an object that
// waits; not ok: they are others than those that it waits with.
func matching(queued []*state.Queued, o state.WaitingObject) (matched []*state.Queued, ok bool) {
	deleted := o.Deleted
	for i, q := range queued {
		if q.To() == "" {
			if len(deleted) == 0 || deleted[0] != q.From() {
				return nil, false
			}
			deleted = deleted[1:]
		}
		if q.To() == o.To && len(deleted) == 0 {
			return queued[:i+1], true
		}
	}
	return queued, true
}
