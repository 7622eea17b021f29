package source

import (
	"context"

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
	changes, err := r.source.seen.Remove(obj.(*object.Object).Key(), event.ViaWatch)
	r.emit(changes, err)
	return nil
}

// Replace is called with a whole list: the baseline at first, and after a gap
// the state to compare with. A list that stands for a resume holds nothing.
func (r *recorder) Replace(items []any, version string) error {
	s := r.source
	if s.lw.takeResumed() {
		return nil
	}
	objects := make([]*object.Object, len(items))
	for i, item := range items {
		objects[i] = item.(*object.Object)
	}
	if s.lw.wasReported() {
		s.log.Warn("the API server's history is gone, so the objects are listed: changes in between are merged")
	}
	old := s.baseline(objects)
	s.seen.Baseline(old)
	if len(old) < len(objects) || s.lw.wasSynced() {
		r.compare(objects)
	}
	if r.watch.Err() == nil {
		s.lw.progress(version)
		r.synced()
	}
	return nil
}

// baseline gives those of the objects of a list that are no changes.
func (s *Source) baseline(objects []*object.Object) []*object.Object {
	var old []*object.Object
	for _, o := range objects {
		if s.isBaseline(o) {
			old = append(old, o)
		}
	}
	return old
}

// compare emits the net differences between a list and what was seen last.
func (r *recorder) compare(objects []*object.Object) {
	via := event.ViaRelist
	for _, key := range r.source.seen.Absent(objects) {
		r.emit(r.source.seen.Remove(key, via))
	}
	for _, o := range objects {
		r.emit(r.source.seen.Put(o, via))
	}
}

// synced reports the first list, once.
func (r *recorder) synced() {
	if r.source.lw.markSynced() {
		r.source.log.Info("watching", "objects", r.source.seen.Len())
		r.source.cfg.Synced()
	}
}

// Resync is never asked for: nothing is emitted twice.
func (r *recorder) Resync() error { return nil }

// UpdateResourceVersion is called when everything up to version has been
// handed to the recorder.
func (r *recorder) UpdateResourceVersion(version string) {
	if r.watch.Err() == nil {
		r.source.lw.progress(version)
	}
}

func (r *recorder) put(obj any) error {
	r.emit(r.source.seen.Put(obj.(*object.Object), event.ViaWatch))
	return nil
}

// emit hands changes on, or ends the source: a change that cannot be handed on
// must not be passed over. It goes on where only the watch was stopped: what
// was seen is seen.
func (r *recorder) emit(changes []*state.Change, err error) {
	for _, c := range changes {
		if err == nil && r.ctx.Err() == nil {
			err = r.source.cfg.Emit(r.ctx, c)
		}
	}
	if err != nil && r.ctx.Err() == nil {
		r.err = err
		r.cancel()
	}
}

var _ metav1.ObjectMetaAccessor = (*object.Object)(nil)
