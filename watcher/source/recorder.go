package source

import (
	"context"
	"runtime/debug"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// recorder is the store behind the reflector: it compares each object with the
// one seen last and emits the difference. Its methods block or end the source,
// and never return an error: the reflector would drop that change, go on, and
// log the object.
type recorder struct {
	source *Source
	ctx    context.Context // the store interface passes none; outlives the list and watch
	watch  context.Context // of the list and watch
	cancel context.CancelFunc
	err    error // why the source ended by itself; read after the reflector returned
}

// Add is called for ADDED.
func (r *recorder) Add(obj any) error { return r.put(obj) }

// Update is called for MODIFIED.
func (r *recorder) Update(obj any) error { return r.put(obj) }

// Delete is called for DELETED; that object carries a version of its own, so
// the one seen last is the old object.
func (r *recorder) Delete(obj any) error {
	o := obj.(*object.Object)
	var t state.Tx
	if r.ok(r.source.seen.Remove(&t, o.Key(), event.ViaWatch)) {
		r.source.seen.At(&t, o.ResourceVersion)
		r.apply(&t)
	}
	return nil
}

func (r *recorder) put(obj any) error {
	o := obj.(*object.Object)
	var t state.Tx
	if o.Key() == r.source.cfg.Own {
		r.source.seen.At(&t, o.ResourceVersion)
		r.apply(&t)
		return nil
	}
	if r.ok(r.source.seen.Put(&t, o, event.ViaWatch)) {
		r.source.seen.At(&t, o.ResourceVersion)
		r.apply(&t)
	}
	return nil
}

// Replace is called with a whole list: the baseline at first, and after a gap
// the state to compare with. A list that stands for a resume holds nothing.
func (r *recorder) Replace(items []any, version string) error {
	s := r.source
	if s.lw.takeResumed() {
		r.synced()
		return nil
	}
	objects := make([]*object.Object, 0, len(items))
	for _, item := range items {
		if o := item.(*object.Object); o.Key() != s.cfg.Own {
			objects = append(objects, o)
		}
	}
	switch w := s.seen.Watch(); {
	case s.lw.wasReported():
		s.cfg.Metrics.Relisted(s.resource)
		s.log.Warn("the API server's history is gone, so the objects are listed: changes in between are merged")
	case s.lw.takePast(): // nothing is merged
	case w.All || len(w.Only) > 0: // another version, other namespaces, or a start amid a comparison
		s.log.Warn("the objects are listed and compared with what was seen: changes in between are merged")
	}
	r.compare(objects)
	if relist := s.lw.wasReported(); relist && len(items) > many {
		defer debug.FreeOSMemory() // the list is garbage now; the first ones have it done for all of them
	}
	if r.ctx.Err() == nil && r.watch.Err() == nil {
		var t state.Tx
		s.seen.Listed(&t, version)
		r.apply(&t)
		s.lw.listed(version)
		r.synced()
	}
	return nil
}

// many objects in a list leave the heap larger than it has to be.
const many = 1000

// together is how many objects of a list without news are recorded at once.
const together = 200

// compare records the net differences between a list and what was seen last.
// Until all of them are recorded there is no version to resume at: what comes
// after it is mixed with what a list has brought.
func (r *recorder) compare(objects []*object.Object) {
	seen := r.source.seen
	var t state.Tx
	if seen.Watch().Version != "" {
		seen.At(&t, "")
		r.apply(&t)
	}
	absent, err := seen.Absent(r.ctx, objects)
	if !r.ok(err) {
		return
	}
	for _, key := range absent {
		t = state.Tx{}
		if seen.Watch().Forget {
			seen.Forget(&t, key)
		} else if !r.ok(seen.Remove(&t, key, event.ViaRelist)) {
			return
		}
		r.apply(&t)
	}
	t = state.Tx{}
	for i, o := range objects {
		if !r.ok(r.see(&t, o)) {
			return
		}
		if len(t.Changes()) > 0 || i%together == 0 {
			r.apply(&t)
			t = state.Tx{}
		}
	}
	r.apply(&t)
}

// see takes an object of a list: as the baseline if nobody knew it and it is no
// news, else as seen.
func (r *recorder) see(t *state.Tx, o *object.Object) error {
	seen := r.source.seen
	if r.source.isBaseline(o) {
		known, err := seen.Get(o.Key(), false)
		if err != nil {
			return err
		}
		if known == nil {
			seen.Baseline(t, o)
			return nil
		}
	}
	return seen.Put(t, o, event.ViaRelist)
}

// synced reports the first list, once.
func (r *recorder) synced() {
	if !r.source.lw.markSynced() {
		return
	}
	if n, err := r.source.seen.Len(r.ctx); r.ok(err) {
		r.source.log.Info("watching", "objects", n)
		r.source.counted = true
		r.source.count(n)
		r.source.cfg.Synced()
	}
}

// Resync is never asked for: nothing is emitted twice.
func (r *recorder) Resync() error { return nil }

// UpdateResourceVersion is called when everything up to version has been
// handed to the recorder.
func (r *recorder) UpdateResourceVersion(version string) {
	if r.ctx.Err() != nil || r.watch.Err() != nil {
		return
	}
	r.source.lw.progress(version)
	if r.source.seen.Watch().Version != version { // a bookmark
		var t state.Tx
		r.source.seen.At(&t, version)
		r.apply(&t)
	}
}

// apply records what was seen, or ends the source: a change that cannot be
// recorded must not be passed over. It goes on where only the watch was
// stopped: what was seen is seen.
func (r *recorder) apply(t *state.Tx) {
	if r.ctx.Err() == nil {
		r.ok(r.source.apply(r.ctx, t))
	}
}

// ok tells whether to go on; an error ends the source.
func (r *recorder) ok(err error) bool {
	if err != nil && r.ctx.Err() == nil {
		r.err = err
		r.cancel()
	}
	return err == nil && r.ctx.Err() == nil
}

var _ metav1.ObjectMetaAccessor = (*object.Object)(nil)
