package source

import (
	"context"
	"errors"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// maxPastRequests bounds what one comparison may ask of the past: what is not
// asked for then is merged.
const maxPastRequests = 2000

// errNoHistory tells that a past state cannot be had any more.
var errNoHistory = errors.New("the API server does not have that state any more")

// isUnreadable tells that a past state cannot be had, and will not be.
func isUnreadable(err error) bool {
	_, gone := errors.AsType[*GoneError](err)
	return gone || errors.Is(err, errNoHistory)
}

// history reads past states of single objects. An object's resourceVersion is the
// revision of etcd that wrote it, so the state one revision before that is the
// version before: from a known state the way back can be walked, change by change,
// until etcd has compacted it (after five minutes, by default). What it cannot
// find is an object that was created and deleted between two states in which it is
// absent.
type history struct {
	source  *Source
	left    int                   // requests
	floor   uint64                // revisions up to this one cannot be had
	refused map[string]*GoneError // by namespace: why nothing of it can be had
	// insists tells that whoever reads asks again after any other answer; else an
	// API server that fails at past states, and at nothing else, would hold up a
	// comparison for ever.
	insists bool
}

func (s *Source) newHistory() *history {
	return &history{source: s, left: maxPastRequests, refused: map[string]*GoneError{}}
}

// revision reads a resourceVersion; 0: it is none of etcd's.
func revision(version string) uint64 {
	n, err := strconv.ParseUint(version, 10, 63)
	if err != nil {
		return 0
	}
	return n
}

// at is an object as it was at a revision, nil if it was not there. The error is
// errNoHistory, a *GoneError or one that another attempt may mend.
func (h *history) at(ctx context.Context, namespace, name string, rev uint64) (*object.Object, error) {
	if why := h.refused[namespace]; why != nil {
		return nil, why
	}
	if rev == 0 || rev <= h.floor || h.left <= 0 {
		return nil, errNoHistory
	}
	h.left--
	s := h.source
	p, err := s.page(ctx, client.Path(s.cfg.Scope.Resource, namespace), metav1.ListOptions{
		ResourceVersion: strconv.FormatUint(rev, 10), ResourceVersionMatch: metav1.ResourceVersionMatchExact,
		FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String(),
	})
	switch {
	case err != nil && isGone(err):
		h.floor = max(h.floor, rev)
		return nil, errNoHistory
	case err != nil && (isFinal(err) || !h.insists && apierrors.IsInternalError(err)):
		why := &GoneError{s.explain(err)}
		h.refused[namespace] = why
		return nil, why
	case err != nil:
		return nil, err
	}
	for _, o := range p.Objects {
		if o.Name == name && o.Namespace == namespace {
			return o, nil
		}
	}
	return nil, nil //nolint:nilnil // it was not there
}

// between gives the states between what was seen of an object, nil for nothing,
// and a later one, neither included; a nil state is a time in which it was deleted.
// whole tells that none is missing.
func (h *history) between(ctx context.Context, old, now *object.Object) (states []*object.Object, whole bool, err error) {
	var base uint64
	if old != nil {
		if base = revision(old.ResourceVersion); base == 0 {
			return nil, false, nil
		}
	}
	return h.back(ctx, base, now)
}

// back walks from a state to the revision of the one that is known; 0: the object
// was not there.
func (h *history) back(ctx context.Context, base uint64, now *object.Object) (states []*object.Object, whole bool, err error) {
	defer func() { slices.Reverse(states) }()
	for cur := now; ; {
		rev := revision(cur.ResourceVersion)
		if rev == 0 || rev <= base {
			return states, rev == base, nil
		}
		before, err := h.at(ctx, now.Namespace, now.Name, rev-1)
		if err == nil && before == nil {
			if base == 0 {
				return states, true, nil // it was created then
			}
			states = append(states, nil)
			if before, err = h.lastBefore(ctx, base, rev-1, now); err == nil && before == nil {
				return states, true, nil // what was seen is what was deleted
			}
		}
		switch {
		case isUnreadable(err):
			return states, false, nil
		case err != nil:
			return nil, false, err
		case revision(before.ResourceVersion) <= base:
			return states, true, nil
		}
		states = append(states, before)
		cur = before
	}
}

// untilGone gives the states between what was seen of an object and its end, which
// lies before a version.
func (h *history) untilGone(ctx context.Context, old *object.Object, version string) (states []*object.Object, whole bool, err error) {
	base, end := revision(old.ResourceVersion), revision(version)
	if base == 0 || end <= base {
		return nil, false, nil
	}
	last, err := h.lastBefore(ctx, base, end, old)
	switch {
	case isUnreadable(err):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case last == nil:
		return nil, true, nil
	}
	states, whole, err = h.back(ctx, base, last)
	return append(states, last), whole, err
}

// lastBefore searches the last state of an object that is there at one revision
// and not at a later one; nil: it is the one that is known to be there.
//
// It looks back from the end in growing steps, for what is deleted is often created
// again at once, and then halves what is left. An object that was there for less than
// such a step may be missed.
func (h *history) lastBefore(ctx context.Context, known, absent uint64, o *object.Object) (last *object.Object, err error) {
	there := known
	for step := uint64(1); absent-there > step && last == nil; step *= 2 {
		if last, err = h.at(ctx, o.Namespace, o.Name, absent-step); err != nil {
			return nil, err
		}
		if absent -= step; last != nil {
			there, absent = absent, absent+step
		}
	}
	for absent-there > 1 {
		mid := there + (absent-there)/2
		found, err := h.at(ctx, o.Namespace, o.Name, mid)
		switch {
		case err != nil:
			return nil, err
		case found == nil:
			absent = mid
		default:
			last, there = found, mid
		}
	}
	if last != nil && revision(last.ResourceVersion) <= known {
		last = nil
	}
	return last, nil
}
