package source

import (
	"context"
	"errors"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/pause"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// recordError is why what was seen could not be recorded: a change must not be
// passed over, so the source ends with it.
type recordError struct{ error }

func (e *recordError) Unwrap() error { return e.error }

// newBackoff paces the attempts to list or watch again: an API server that
// comes back finds its watchers within seconds, but not all in one instant.
func newBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Cap: 4 * time.Second, Steps: 10, Factor: 2, Jitter: 0.5}
}

// follow lists and watches, one after the other and again, until ctx ends.
func (s *Source) follow(ctx context.Context) error {
	pos := Position{Version: s.cfg.Watch.Version, ListAt: s.cfg.ListAt}
	backoff, gone := newBackoff(), 0
	for ctx.Err() == nil {
		began := time.Now()
		next, followed, err := s.round(ctx, pos)
		if failed, ok := errors.AsType[*recordError](err); ok {
			if s.recording.Err() != nil {
				return nil
			}
			return failed.error
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil && !s.cfg.RetryAll && !s.watched && isPermanent(err) {
			return s.explain(err)
		}
		if followed {
			backoff, gone = newBackoff(), 0
		}
		pos = next
		if isGone(err) {
			gone++
		}
		if isGone(err) && gone == 1 || err == nil && followed && time.Since(began) > stable {
			continue // the server is there: it has answered, or ended a watch as it does from time to time
		}
		s.note(err)
		_ = pause.For(ctx, waitFor(backoff, err))
	}
	return nil
}

// waitFor is how long to wait after an attempt that has ended with err.
func waitFor(backoff *wait.Backoff, err error) time.Duration {
	d := backoff.Step()
	if apierrors.IsNotFound(err) {
		d = min(d, 2*time.Second) // a cheap question, and it may be served again at any time
	}
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok { // a busy API server says when to come again
		d = max(d, min(time.Duration(seconds)*time.Second, maxDelay))
	}
	return d
}

// maxDelay bounds what an API server may ask to wait.
const maxDelay = 30 * time.Second

// round lists, if there is nothing to go on from, and watches until that ends. It
// returns where to go on, and whether the API server could be followed.
func (s *Source) round(ctx context.Context, pos Position) (next Position, followed bool, err error) {
	var opened *stream
	fresh := time.Time{}
	if pos.Version == "" {
		if pos, opened, err = s.list(ctx, pos); err != nil {
			return pos, false, err
		}
		fresh = time.Now()
	}
	if err := s.setSynced(); err != nil {
		if opened != nil {
			opened.close()
		}
		return pos, false, err
	}
	if opened == nil {
		if opened, err = s.openWatch(ctx, pos.Version, fresh); err != nil {
			return pos.After(err), false, err
		}
	}
	defer opened.close()
	if s.watched {
		s.cfg.Metrics.Restarted(s.resource)
	}
	s.watched = true
	return s.watch(ctx, pos, opened)
}

// openWatch opens a watch from a version; fresh is when a list gave it, if one
// did just now.
func (s *Source) openWatch(ctx context.Context, version string, fresh time.Time) (*stream, error) {
	if time.Since(fresh) > freshFor {
		if err := s.checkHistory(ctx, version); err != nil {
			return nil, err
		}
	}
	return s.openStream(ctx, metav1.ListOptions{ResourceVersion: version})
}

func (s *Source) openStream(ctx context.Context, opts metav1.ListOptions) (*stream, error) {
	opts.Watch, opts.AllowWatchBookmarks = true, true
	body, err := s.open(ctx, s.path, opts)
	if err != nil {
		return nil, err
	}
	return newStream(ctx, body, s.decoder, s.life.beat), nil
}

// stable is how long a watch has to be open to count as followed while nothing
// comes: an API server may take a watch and then say that its history is gone.
const stable = time.Second

var errClosed = errors.New("the watch was closed at once")

// watch records what comes until the watch ends or ctx does.
func (s *Source) watch(ctx context.Context, pos Position, opened *stream) (next Position, followed bool, err error) {
	open := time.NewTimer(stable)
	defer open.Stop()
	for {
		select {
		case <-open.C:
			followed = true
			s.nowFollowed()
		case ev, ok := <-opened.events:
			if !ok && !followed && opened.err == nil {
				return pos, false, errClosed
			}
			if !ok {
				return pos.After(opened.err), followed, opened.err
			}
			if err := s.record(ev); err != nil {
				return pos, followed, &recordError{err}
			}
			pos = pos.Progress(ev.Version)
			if !followed {
				followed = true
				s.nowFollowed()
			}
			if ctx.Err() != nil {
				return pos, followed, nil
			}
		}
	}
}

// record compares an event of a watch with what was seen last and records the
// difference together with the version up to which all is recorded now.
func (s *Source) record(ev watchEvent) error {
	if ev.Type == watch.Bookmark && ev.Version == s.seen.Watch().Version {
		return nil
	}
	var t state.Tx
	var err error
	switch o := ev.Object; {
	case o == nil || o.Key() == s.cfg.Own:
	case ev.Type == watch.Deleted: // that object carries a version of its own: the one seen last is the old object
		err = s.seen.Remove(&t, o.Key(), event.ViaWatch)
	default:
		err = s.seen.Put(&t, o, event.ViaWatch)
	}
	if err != nil {
		return err
	}
	s.seen.At(&t, ev.Version)
	return s.apply(s.recording, &t)
}

// nowFollowed says that the API server can be followed again, if it was said that
// it cannot.
func (s *Source) nowFollowed() {
	if s.failing.Swap(false) {
		s.log.Info("watching again")
		s.cfg.Metrics.Down(s.resource, -1)
	}
}

// note says, once, that the API server cannot be followed, until it can again. nil
// is the ordinary end of a watch.
func (s *Source) note(err error) {
	if err == nil {
		return
	}
	if apierrors.IsNotFound(err) {
		defer s.cfg.NotServed()
	}
	why := s.explain(err)
	level := slog.LevelDebug
	was := s.failing.Swap(true)
	if !was || why.Error() != s.reason && s.again.Due() {
		level, s.reason = slog.LevelWarn, why.Error()
	}
	if !was {
		s.cfg.Metrics.Down(s.resource, 1)
	}
	s.log.Log(context.Background(), level, "watch fails, trying again", "error", why)
}
