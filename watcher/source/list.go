package source

import (
	"context"
	"errors"
	"io"
	"runtime/debug"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// pageSize is how many objects of a list are asked for at once.
const pageSize = 500

// many objects in a list leave the heap larger than it has to be.
const many = 1000

// list compares the objects with what was seen, as they come. The first list of
// all is a streaming one where that is served; it goes on as the watch, which is
// returned. A list with much to tell comes in pages, which wait for room in the
// queue without holding a request open.
func (s *Source) list(ctx context.Context, pos Position) (Position, *stream, error) {
	c, err := s.newComparison(pos)
	if err != nil {
		return pos, nil, &recordError{err}
	}
	if c.nothingSeen && pos.ListAt == "" && !s.noStream {
		version, opened, err := s.streamList(ctx, c)
		switch {
		case err != nil:
			return pos.After(err), nil, err
		case opened != nil:
			return pos.Listed(version), opened, nil
		}
	}
	version, err := s.pages(ctx, pos.ListAt, c.see)
	if err != nil && pos.ListAt != "" {
		s.log.Debug("the state where the API server's history begins cannot be listed", "version", pos.ListAt, "error", s.explain(err))
		return pos.AfterPast(err), nil, err
	}
	if err != nil {
		return pos.After(err), nil, err
	}
	if err := c.finish(ctx, version); err != nil {
		return pos, nil, err
	}
	if s.synced.Load() && c.objects > many {
		debug.FreeOSMemory() // the first lists have it done for all of them
	}
	return pos.Listed(version), nil, nil
}

// streamList reads the newest state as a watch sends it; a nil stream without an
// error tells that this is not served, which the list in pages then has the reason
// for.
func (s *Source) streamList(ctx context.Context, c *comparison) (version string, opened *stream, err error) {
	yes := true
	opened, err = s.openStream(ctx, metav1.ListOptions{
		SendInitialEvents: &yes, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		s.noStream = true
		return "", nil, nil
	}
	for ev := range opened.events {
		if ev.InitialEnd {
			if err := c.finish(ctx, ev.Version); err != nil {
				opened.close()
				return "", nil, err
			}
			return ev.Version, opened, nil
		}
		if ev.Object == nil {
			continue
		}
		if err := c.see(ctx, ev.Object); err != nil {
			opened.close()
			return "", nil, err
		}
	}
	opened.close()
	s.noStream = true // it may be too much for one request
	if opened.err == nil {
		opened.err = errors.New("the list broke off")
	}
	return "", nil, opened.err
}

// pages reads the objects as they are now, or as they were at a version, page by
// page, and returns the version of the list. An error of each ends it.
func (s *Source) pages(ctx context.Context, at string, each func(context.Context, *object.Object) error) (version string, err error) {
	opts := metav1.ListOptions{Limit: pageSize}
	if at != "" {
		opts.ResourceVersion, opts.ResourceVersionMatch = at, metav1.ResourceVersionMatchExact
	}
	for {
		p, err := s.page(ctx, s.path, opts)
		if err != nil {
			return "", err
		}
		for i, o := range p.Objects {
			p.Objects[i] = nil
			if err := each(ctx, o); err != nil {
				return "", err
			}
		}
		if p.Continue == "" {
			return p.ResourceVersion, nil
		}
		opts = metav1.ListOptions{Limit: pageSize, Continue: p.Continue}
	}
}

// page reads one answer.
func (s *Source) page(ctx context.Context, path string, opts metav1.ListOptions) (*page, error) {
	body, err := s.open(ctx, path, opts)
	if err != nil {
		return nil, err
	}
	defer closeBody(body)
	p, err := s.decoder.list(body)
	if errors.Is(err, io.ErrUnexpectedEOF) && ctx.Err() != nil {
		err = ctx.Err()
	}
	return p, err
}
