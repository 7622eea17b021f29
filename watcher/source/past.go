package source

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kwatchman/kwatchman/internal/pause"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// GoneError tells that the API server does not give a state of the past: it does
// not have it any more, or will not show it.
type GoneError struct{ reason error }

// NewGoneError gives the reason in one line.
func NewGoneError(reason error) *GoneError { return &GoneError{reason} }

func (e *GoneError) Error() string { return e.reason.Error() }

const (
	// futureAttempts is how often a version that the API server does not know yet
	// is asked for: one of several may be behind.
	futureAttempts = 5
	// answerPatience is for how long an API server that answers, and not with what
	// was asked for, is asked again.
	answerPatience = time.Minute
	// maxWaitingRequests bounds what is asked of the past for the changes that wait at
	// one watch: several for each that a full queue holds by default.
	maxWaitingRequests = 50_000
)

// Past reads what a resource was. One that cannot be reached is asked until ctx
// ends.
type Past struct {
	source   *Source
	history  *history
	patience time.Duration // answerPatience
	said     bool          // that it has to ask again
}

// NewPast reads the past of cfg.Watch, which is not followed.
func NewPast(cfg Config) *Past {
	s := New(cfg)
	s.decoder.known, s.decoder.packer.Settled = nil, nil
	p := &Past{source: s, history: s.newHistory(), patience: answerPatience}
	p.history.left, p.history.insists = maxWaitingRequests, true
	return p
}

// Objects lists the objects as they were at a version and hands them to each,
// page by page; first tells that it is the first page. It tries again until ctx
// ends, but for a *GoneError.
func (p *Past) Objects(ctx context.Context, version string, each func(objects []*object.Object, first bool) error) error {
	s := p.source
	s.decoder.packer.Settled = func(*object.Object) bool { return true } // nobody asks who changed them
	defer func() { s.decoder.packer.Settled = nil }()
	opts := metav1.ListOptions{ResourceVersion: version, ResourceVersionMatch: metav1.ResourceVersionMatchExact, Limit: pageSize}
	for first := true; ; first = false {
		var got *page
		err := p.insist(ctx, func() error {
			if first { // it would wait for a version of the future
				if err := s.checkHistory(ctx, version); err != nil {
					return err
				}
			}
			var err error
			got, err = s.page(ctx, s.path, opts)
			return err
		})
		if err != nil {
			return err
		}
		if err := each(s.withoutOwn(got.Objects), first); err != nil {
			return err
		}
		if got.Continue == "" {
			return nil
		}
		opts = metav1.ListOptions{Limit: pageSize, Continue: got.Continue}
	}
}

func (s *Source) withoutOwn(objects []*object.Object) []*object.Object {
	kept := objects[:0]
	for _, o := range objects {
		if o.Key() != s.cfg.Own {
			kept = append(kept, o)
		}
	}
	return kept
}

// States gives the states of one object in order: first that at version from,
// nil where that is empty, then each later one up to version to, where nil is an
// absence. deleted are the versions that were deleted in between. whole tells that
// none of those states is missing; without, there are as many of the last ones as
// could be had, and the first may be another one. The error is ctx's or a
// *GoneError.
func (p *Past) States(ctx context.Context, namespace, name, from string, deleted []string, to string) (states []*object.Object, whole bool, err error) {
	err = p.insist(ctx, func() error {
		states, whole, err = p.states(ctx, namespace, name, from, deleted, to)
		return err
	})
	return states, whole, err
}

func (p *Past) states(ctx context.Context, namespace, name, from string, deleted []string, to string) (states []*object.Object, whole bool, err error) {
	base, whole := revision(from), true
	var first *object.Object
	if base != 0 {
		if first, err = p.history.at(ctx, namespace, name, base); err != nil && !errors.Is(err, errNoHistory) {
			return nil, false, err
		}
		whole = first != nil && first.ResourceVersion == from
	}
	states = append(states, first)
	ends := deleted
	if to != "" {
		ends = append(ends[:len(ends):len(ends)], to)
	}
	for _, end := range ends {
		steps, all, err := p.segment(ctx, namespace, name, base, end)
		if err != nil {
			return nil, false, err
		}
		states, whole, base = append(states, steps...), whole && all, 0
		if end != to || len(deleted) == len(ends) {
			states = append(states, nil)
		}
	}
	return states, whole, nil
}

// segment gives the states behind a revision up to a version, which is there.
func (p *Past) segment(ctx context.Context, namespace, name string, base uint64, end string) ([]*object.Object, bool, error) {
	if revision(end) == base {
		return nil, true, nil // nothing but its deletion
	}
	last, err := p.history.at(ctx, namespace, name, revision(end))
	switch {
	case errors.Is(err, errNoHistory):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case last == nil: // it was never told of: the watch did not see it
		return nil, false, nil
	}
	steps, whole, err := p.history.back(ctx, base, last)
	return append(steps, last), whole, err
}

// insist asks again while that may bring another answer: one that cannot be reached
// without end, one that answers otherwise for answerPatience.
func (p *Past) insist(ctx context.Context, ask func() error) error {
	backoff, failing, future := newBackoff(), time.Time{}, 0
	for {
		err := ask()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case isUnreadable(err):
			return err
		}
		if failing.IsZero() {
			failing = time.Now()
		}
		switch {
		case apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) && future < futureAttempts:
			future++
		case isFinal(err), !isUnreached(err) && time.Since(failing) > p.patience:
			return &GoneError{p.source.explain(err)}
		case !p.said:
			p.said = true
			p.source.log.Warn("the state of before cannot be listed, trying again", "error", p.source.explain(err))
		}
		_ = pause.For(ctx, waitFor(backoff, err))
	}
}

// isUnreached tells whether there was no answer at all, or none to its end.
func isUnreached(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

// isFinal tells whether another attempt brings no other answer. What may not be
// listed now may not be listed soon: the permission was taken away.
func isFinal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	return isGone(err) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) ||
		apierrors.IsBadRequest(err) || apierrors.IsInvalid(err) || apierrors.IsMethodNotSupported(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) ||
		strings.Contains(err.Error(), "future revision") // etcd's own words, as after a restore
}
