package source

import (
	"context"
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kwatchman/kwatchman/internal/pause"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// GoneError tells that the API server does not have a state of the past any more.
type GoneError struct{ reason error }

func (e *GoneError) Error() string { return e.reason.Error() }

// loadPage is how many objects of a past state are asked for at once.
const loadPage = 500

// futureAttempts is how often a version that the API server does not know yet
// is asked for: one of several may be behind.
const futureAttempts = 5

// Load lists the objects of cfg.Watch as they were at its version and hands them
// to each, page by page; first tells that it is the first page. It tries again
// until ctx ends, but for a *GoneError.
func Load(ctx context.Context, cfg Config, each func(objects []*object.Object, first bool) error) error {
	s := New(cfg)
	defer s.stop()
	s.lw.decoder.known = nil
	s.lw.decoder.packer.Settled = func(*object.Object) bool { return true }
	opts := metav1.ListOptions{
		ResourceVersion: cfg.Watch.Version, ResourceVersionMatch: metav1.ResourceVersionMatchExact, Limit: loadPage,
	}
	backoff, failed, future := newBackoff(), false, 0
	for first := true; ; {
		var objects []*object.Object
		var next string
		var err error
		if first { // it would wait for a version of the future
			err = s.lw.checkHistory(ctx, cfg.Watch.Version)
		}
		if err == nil {
			objects, next, err = s.page(ctx, opts)
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) && future < futureAttempts:
			future++
			_ = pause.For(ctx, backoff.Step())
			continue
		case unloadable(err):
			return &GoneError{s.explain(err)}
		default:
			if !failed {
				s.log.Warn("the state of before cannot be listed, trying again", "error", s.explain(err))
			}
			failed = true
			_ = pause.For(ctx, backoff.Step())
			continue
		}
		if err := each(objects, first); err != nil {
			return err
		}
		if first = false; next == "" {
			return nil
		}
		opts = metav1.ListOptions{Limit: loadPage, Continue: next}
	}
}

// unloadable tells whether another attempt brings no other answer.
func unloadable(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	return apierrors.IsGone(err) || apierrors.IsResourceExpired(err) || apierrors.IsNotFound(err) ||
		apierrors.IsBadRequest(err) || apierrors.IsInvalid(err) || apierrors.IsMethodNotSupported(err) ||
		apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) ||
		strings.Contains(err.Error(), "future revision") // etcd's own words, as after a restore
}

// page reads one page of a list.
func (s *Source) page(ctx context.Context, opts metav1.ListOptions) (objects []*object.Object, next string, err error) {
	body, err := s.lw.open(ctx, opts)
	if err != nil {
		return nil, "", err
	}
	defer closeBody(body)
	out, err := s.lw.decoder.list(body)
	if err != nil {
		return nil, "", err
	}
	list := out.(*metainternal.List)
	for _, item := range list.Items {
		if o := item.(*object.Object); o.Key() != s.cfg.Own {
			objects = append(objects, o)
		}
	}
	return objects, list.Continue, nil
}
