package source

import (
	"cmp"
	"context"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// together is how many objects of a list without news are recorded at once.
const together = 200

// comparison records the differences between a list and what was seen last: for
// the first list of all, the baseline; after a gap, what happened meanwhile, step
// by step as far as the API server's history reaches, else as one net change.
//
// Until finish there is no version to go on from: what comes after it is mixed
// with what a list has brought. It belongs to the goroutine of Run.
type comparison struct {
	source *Source
	lost   string // see Position; empty: no gap is known of
	from   string // the version up to which all was recorded; empty: it is not known
	past   bool   // the list is of a past state
	// nothingSeen tells that no object was seen before this list.
	nothingSeen bool
	present     map[string]struct{} // keys in the list; nil with nothingSeen
	history     *history

	tx      state.Tx // of objects without news
	inTx    int
	objects int // in the list
	differ  int // objects that are not as they were seen
	merged  int // of those, the ones of which several changes may have become one
}

func (s *Source) newComparison(pos Position) (*comparison, error) {
	c := &comparison{source: s, lost: pos.lost, past: pos.ListAt != "", history: s.newHistory()}
	var t state.Tx
	s.seen.Comparing(&t) // also where there was no version: the marks know of the comparison by it
	if err := s.apply(s.recording, &t); err != nil {
		return nil, err
	}
	c.from = cmp.Or(c.lost, s.seen.Watch().Before)
	n, err := s.seen.Len(s.recording)
	if c.nothingSeen = n == 0; !c.nothingSeen {
		c.present = make(map[string]struct{}, n)
	}
	return c, err
}

// see takes the next object of the list. Its error is that of recording, or of
// the API server that does not answer, or ctx's.
func (c *comparison) see(ctx context.Context, o *object.Object) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s := c.source
	if o.Key() == s.cfg.Own {
		return nil
	}
	c.objects++
	if c.present != nil {
		c.present[o.Key()] = struct{}{}
	}
	old, err := s.seen.Get(o.Key(), false)
	if err != nil {
		return &recordError{err}
	}
	switch {
	case old == nil && s.isBaseline(o):
		s.seen.Baseline(&c.tx, o)
	case c.hasSteps(old, o):
		return c.steps(ctx, old, o)
	default:
		if err := s.seen.Put(&c.tx, o, event.ViaRelist); err != nil {
			return &recordError{err}
		}
	}
	if c.inTx++; len(c.tx.Changes()) > 0 || c.inTx >= together {
		return c.flush()
	}
	return nil
}

// hasSteps tells whether more than one change may lie between what was seen and
// an object of the list.
func (c *comparison) hasSteps(old, now *object.Object) bool {
	w := c.source.seen.Watch()
	if w.Forget || old == nil && !w.Knows(now.Namespace) {
		return false
	}
	return old == nil || old.UID != now.UID || old.ResourceVersion != now.ResourceVersion
}

// steps records the changes between what was seen and an object of the list.
func (c *comparison) steps(ctx context.Context, old, now *object.Object) error {
	if err := c.flush(); err != nil {
		return err
	}
	states, whole, err := c.history.between(ctx, old, now)
	if err != nil {
		return err
	}
	c.note(whole)
	return c.put(append(states, now), now.Key())
}

// The lines about a comparison: why there is one, and what it cannot tell. Objects
// that were created and deleted again within a gap stand in no list.
const (
	gapMerged     = "the API server's history is gone, so the objects are listed: changes in between are merged"
	gapRead       = "the API server's history is gone, so the objects are listed: changes in between are read one by one, but objects that came and went are not told"
	changedMerged = "the objects are listed and compared with what was seen: changes in between are merged"
	changedRead   = "the objects are listed and compared with what was seen: changes in between are read one by one, but objects that came and went are not told"
)

// note counts an object that differs, before what is known of it is told. What is
// merged, or cannot be read at all, is said before the first change that is told.
func (c *comparison) note(whole bool) {
	if c.differ++; !whole {
		c.merged++
	}
	switch {
	case !whole && c.merged == 1 && c.gap():
		c.source.cfg.Metrics.Relisted(c.source.resource)
		c.source.log.Warn(gapMerged, "from", c.from)
	case !whole && c.merged == 1:
		c.source.log.Warn(changedMerged, "from", c.from)
	case !whole || c.differ > 1:
	case c.gap():
		c.source.log.Warn(gapRead, "from", c.from)
	case !c.past && c.knows(): // a past state is what was seen last
		c.source.log.Warn(changedRead, "from", c.from)
	}
}

// put records states of one object, one after the other; nil is its absence.
func (c *comparison) put(states []*object.Object, key string) error {
	s := c.source
	for _, o := range states {
		var t state.Tx
		var err error
		if o == nil {
			err = s.seen.Remove(&t, key, event.ViaRelist)
		} else {
			err = s.seen.Put(&t, o, event.ViaRelist)
		}
		if err == nil {
			err = s.apply(s.recording, &t)
		}
		if err != nil {
			return &recordError{err}
		}
	}
	return nil
}

func (c *comparison) flush() error {
	t := c.tx
	c.tx, c.inTx = state.Tx{}, 0
	if err := c.source.apply(c.source.recording, &t); err != nil {
		return &recordError{err}
	}
	return nil
}

// finish records what the list does not hold any more, and that all up to its
// version is recorded.
func (c *comparison) finish(ctx context.Context, version string) error {
	s := c.source
	if err := c.flush(); err != nil {
		return err
	}
	if !c.nothingSeen {
		if err := c.removeAbsent(ctx, version); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.report(version)
	var t state.Tx
	s.seen.Listed(&t, version)
	if err := s.apply(s.recording, &t); err != nil {
		return &recordError{err}
	}
	return nil
}

func (c *comparison) removeAbsent(ctx context.Context, version string) error {
	s := c.source
	absent, err := s.seen.Absent(s.recording, func(key string) bool {
		_, ok := c.present[key]
		return ok
	})
	if err != nil {
		return &recordError{err}
	}
	for _, key := range absent {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.remove(ctx, key, version); err != nil {
			return err
		}
	}
	return nil
}

// remove records that an object is gone. Where the selectors have changed, its
// absence says nothing.
func (c *comparison) remove(ctx context.Context, key, version string) error {
	s := c.source
	if s.seen.Watch().Forget {
		var t state.Tx
		s.seen.Forget(&t, key)
		if err := s.apply(s.recording, &t); err != nil {
			return &recordError{err}
		}
		return nil
	}
	old, err := s.seen.Get(key, false)
	if err != nil {
		return &recordError{err}
	}
	if old == nil {
		return nil
	}
	states, whole, err := c.history.untilGone(ctx, old, version)
	if err != nil {
		return err
	}
	c.note(whole)
	return c.put(append(states, nil), key)
}

// gap tells whether the API server has lost the history behind what was seen; else
// it is another version, other namespaces, or a start amid a comparison.
func (c *comparison) gap() bool { return c.source.synced.Load() || c.lost != "" }

// knows tells whether all objects of some namespace were seen before.
func (c *comparison) knows() bool {
	w := c.source.seen.Watch()
	return w.All || len(w.Only) > 0
}

// report logs how a comparison with what was seen has ended.
func (c *comparison) report(version string) {
	attrs := []any{"from", c.from, "to", version, "differ", c.differ, "merged", c.merged}
	switch {
	case c.differ > 0:
		c.source.log.Info("compared with what was seen", attrs...)
	case c.gap():
		c.source.log.Info(gapRead, attrs...)
	case !c.past && c.knows():
		c.source.log.Info(changedRead, attrs...)
	}
}
