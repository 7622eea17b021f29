package chain

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/seldom"
	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/watcher/metrics"
)

// step is one endpoint of the chain.
type step struct {
	name   string // for logs: position, scheme and host, never the whole URL, which may be a secret
	dest   string // scheme and host, or the function's name
	url    string
	sink   bool
	client *retryablehttp.Client
	traced tracing.Step
	local  *local      // what client calls in this process; nil for an endpoint
	tls    *tls.Config // of the client; may be nil
	cfg    Config
	log    *slog.Logger
	hide   *strings.Replacer

	breaker breaker
	fails   seldom.Line // the line that says that the step fails
	failing atomic.Bool // it has been said, and nothing succeeded since
}

// ParseTarget reads the URL of a step or a sink. The error does not show it: it
// may be a secret.
func ParseTarget(target string) (*url.URL, error) {
	u, err := url.Parse(target)
	if err == nil {
		_, err = strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16)
	}
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.Fragment != "" {
		return nil, errors.New("is no URL: want http://host:port/path or https://host/path")
	}
	return u, nil
}

func newStep(position int, target Target, cfg Config) (*step, error) {
	s := &step{sink: cfg.Sink, cfg: cfg, log: cfg.Logger}
	if target.Handler != nil {
		s.name, s.url, s.hide = fmt.Sprintf("%d %s", position, target.Name), "http://built-in/", strings.NewReplacer()
		s.dest, s.traced = target.Name, tracing.Step{Name: s.name}
		s.local = newLocal(s.name, cfg.Tracer.Handler(target.Name, target.Handler), cfg)
		s.client = newHTTPClient(s.local)
		return s, nil
	}
	u, err := ParseTarget(target.URL)
	if err != nil {
		return nil, fmt.Errorf("step %d %w", position, err)
	}
	transport, err := newTransport(cfg)
	if err != nil {
		return nil, err
	}
	s.name, s.url, s.hide = stepName(position, target.Name, u), target.URL, hide(u)
	s.dest, s.traced = u.Scheme+"://"+u.Host, tracing.Step{Name: s.name, URL: u}
	s.client, s.tls = newHTTPClient(noRedirects{transport}), transport.TLSClientConfig
	if cfg.TLS != nil {
		s.client = newHTTPClient(&renewed{cfg: cfg, loaded: cfg.TLS.Current(), current: transport})
	}
	return s, nil
}

func stepName(position int, name string, u *url.URL) string {
	if name != "" {
		name += " "
	}
	return fmt.Sprintf("%d %s%s://%s", position, name, u.Scheme, u.Host)
}

// close ends what the step keeps open between two calls.
func (s *step) close() {
	s.client.HTTPClient.CloseIdleConnections()
	if s.local != nil {
		s.local.close()
	}
}

// call makes the n-th attempt of a change, which the step's timeout and the end of
// ctx end, and tells traces, metrics and the log of it. It returns the event to go on
// with, nil if the chain ends here as a success, or a *failure. It does not change e.
func (s *step) call(ctx context.Context, e *event.Event, n int) (*event.Event, error) {
	began := time.Now()
	ctx, span := s.cfg.Tracer.Attempt(ctx, &s.traced, n)
	next, reason, err := s.attempt(ctx, span.Carry(e))
	outcome := attemptBrokenOff
	if ctx.Err() == nil {
		outcome = s.count(next, reason, err, time.Since(began))
	}
	f, failed := errors.AsType[*failure](err)
	if failed {
		f.reason = s.sanitize(f.reason)
	}
	if span != nil {
		status := 0
		if failed {
			status = f.status
		}
		span.End(string(outcome), s.sanitize(reason), status, err)
	}
	s.report(ctx, e, err)
	if err == nil && next == nil && !s.sink {
		attrs := []any{"step", s.name, "id", e.ID, "subject", e.Subject}
		if reason != "" {
			attrs = append(attrs, "reason", s.sanitize(reason))
		}
		s.log.Log(ctx, s.cfg.StopLevel, "chain stopped", attrs...)
	}
	return next, err
}

// attemptBrokenOff is the outcome of an attempt that a stop ended.
const attemptBrokenOff metrics.Outcome = "broken_off"

// count tells the metrics of an attempt, and returns what became of it.
func (s *step) count(next *event.Event, reason string, err error, took time.Duration) (outcome metrics.Outcome) {
	m := s.cfg.Metrics
	f, failed := errors.AsType[*failure](err)
	switch {
	case failed && !f.permanent:
		outcome = metrics.Retried
		m.Retry(s.name, f.status)
	case err != nil:
		outcome = metrics.Refused
	case next == nil && !s.sink:
		outcome = metrics.Stopped
		m.Stopped(s.name, reason)
	default:
		outcome = metrics.Continued
	}
	m.Attempted(s.name, outcome, took)
	return outcome
}

// report says, once a minute, that a step fails, and after that when it works
// again; each attempt in between shows at debug level. One subject may fail
// while others succeed, so the two may alternate.
func (s *step) report(ctx context.Context, e *event.Event, err error) {
	f, failed := errors.AsType[*failure](err)
	if failed && (f.permanent || ctx.Err() != nil) {
		return // says nothing about the step; the queue logs the change
	}
	switch {
	case failed && s.fails.Due():
		s.failing.Store(true)
		s.log.WarnContext(ctx, "step fails, trying again", "step", s.name, "id", e.ID, "status", f.status, "error", f.reason)
	case failed:
		s.log.DebugContext(ctx, "step still fails", "step", s.name, "id", e.ID, "status", f.status, "error", f.reason)
	case s.failing.Swap(false):
		s.log.InfoContext(ctx, "step recovered", "step", s.name, "id", e.ID)
	case s.log.Enabled(ctx, slog.LevelDebug):
		s.log.DebugContext(ctx, "step done", "step", s.name, "id", e.ID)
	}
}
