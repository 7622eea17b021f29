package chain

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/seldom"
	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/watcher/metrics"
)

// Bounds of what an endpoint may ask for or send.
const (
	maxPause   = 5 * time.Minute
	maxReply   = event.MaxBody
	maxIgnored = 64 << 10 // of a sink's reply, which nobody reads
	maxRefusal = 4 << 10  // more than is shown, so that no secret in it is cut in two
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

	mu      sync.Mutex
	until   time.Time   // paused for everyone until then
	careful bool        // after a pause: only so many attempts as are allowed
	allowed int         // attempts that may begin while careful
	failing bool        // it has been said, and nothing succeeded since
	said    seldom.Line // that the step fails
}

// failure is why an attempt did not succeed.
type failure struct {
	status    int // 0: no answer
	permanent bool
	pause     time.Duration // asked for with Retry-After
	reason    string        // one line without a secret
}

func (f *failure) Error() string { return f.reason }

func permanent(status int, format string, args ...any) error {
	return &failure{status: status, permanent: true, reason: fmt.Sprintf(format, args...)}
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

// call makes the n-th attempt of a change. It returns the event to go on with, nil if the chain
// ends here as a success, or a *failure.
func (s *step) call(ctx context.Context, e *event.Event, n int) (*event.Event, error) {
	began := time.Now()
	ctx, span := s.cfg.Tracer.Attempt(ctx, &s.traced, n)
	next, reason, err := s.attempt(ctx, span.Carry(e))
	outcome := brokenOff
	if ctx.Err() == nil {
		outcome = s.count(next, reason, err, time.Since(began))
	}
	f, failed := errors.AsType[*failure](err)
	if failed {
		f.reason = s.say(f.reason)
	}
	if span != nil {
		status := 0
		if failed {
			status = f.status
		}
		span.End(string(outcome), s.say(reason), status, err)
	}
	s.report(ctx, e, err)
	if err == nil && next == nil && !s.sink {
		attrs := []any{"step", s.name, "id", e.ID, "subject", e.Subject}
		if reason != "" {
			attrs = append(attrs, "reason", s.say(reason))
		}
		s.log.Log(ctx, s.cfg.StopLevel, "chain stopped", attrs...)
	}
	return next, err
}

// brokenOff is the outcome of an attempt that a stop ended.
const brokenOff metrics.Outcome = "broken_off"

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

func (s *step) attempt(ctx context.Context, e *event.Event) (next *event.Event, reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if err := e.Validate(); err != nil { // no endpoint would take it, and no header some of it
		return nil, "", permanent(0, "event not sent: %v", err)
	}
	header, body, err := event.Encode(e)
	if err != nil {
		return nil, "", permanent(0, "event not sent: %v", err)
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, s.url, body)
	if err != nil {
		return nil, "", permanent(0, "event not sent: %v", cause(err))
	}
	header.Set("User-Agent", s.cfg.UserAgent)
	if s.local == nil {
		s.cfg.Sign.Sign(header, e.ID, body, time.Now())
		sent := s.cfg.Token.Send(header)
		defer func() { // it may be another one when the answer is looked at
			reason = sent.Hide(reason)
			if f, ok := errors.AsType[*failure](err); ok {
				f.reason = sent.Hide(f.reason)
			}
		}()
	}
	tracing.Inject(header, e)
	req.Header = header
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, "", &failure{reason: cause(err).Error()}
	}
	tracing.Answered(ctx, resp.StatusCode)
	defer func() { _ = resp.Body.Close() }()
	if err := refusal(resp); err != nil {
		return nil, "", err
	}
	if s.sink {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxIgnored)) // so that the connection is used again
		return nil, "", nil
	}
	return reply(resp, e)
}

// refusal is the failure that a status means, nil for success, with what the
// endpoint says about it.
func refusal(resp *http.Response) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	f := &failure{status: resp.StatusCode, permanent: !event.Retryable(resp.StatusCode)}
	var said []byte
	if resp.StatusCode >= 200 { // the body of a 101 is the open connection, which no timeout ends
		said, _ = io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	}
	f.reason = fmt.Sprintf("answered %d", resp.StatusCode)
	if resp.StatusCode/100 == 3 {
		f.reason += ", and redirects are not followed"
	} else if said = bytes.TrimSpace(said); len(said) > 0 {
		f.reason += ": " + string(said)
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		f.pause = min(retryAfter(resp.Header.Get("Retry-After")), maxPause)
	}
	return f
}

// retryAfter reads both forms of the header (RFC 9110, section 10.2.3); 0 if
// there is none to follow.
func retryAfter(v string) time.Duration {
	seconds, err := strconv.ParseUint(v, 10, 31)
	if err == nil || errors.Is(err, strconv.ErrRange) { // out of range gives the largest
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// report says, once a minute, that a step fails, and after that when it works
// again; each attempt in between shows at debug level. One subject may fail
// while others succeed, so the two may alternate.
func (s *step) report(ctx context.Context, e *event.Event, err error) {
	f, failed := errors.AsType[*failure](err)
	if failed && (f.permanent || ctx.Err() != nil) {
		return // says nothing about the step; the queue logs the change
	}
	due := failed && s.said.Due()
	s.mu.Lock()
	was := s.failing
	s.failing = due || failed && was
	s.mu.Unlock()
	switch {
	case due:
		s.log.WarnContext(ctx, "step fails, trying again", "step", s.name, "id", e.ID, "status", f.status, "error", f.reason)
	case failed:
		s.log.DebugContext(ctx, "step still fails", "step", s.name, "id", e.ID, "status", f.status, "error", f.reason)
	case was:
		s.log.InfoContext(ctx, "step recovered", "step", s.name, "id", e.ID)
	case s.log.Enabled(ctx, slog.LevelDebug):
		s.log.DebugContext(ctx, "step done", "step", s.name, "id", e.ID)
	}
}

// unlimited is how many attempts allowed at once are no limit any more.
const unlimited = 16

// pause holds this step back for every subject. After it one attempt feels the
// way: an endpoint that takes a message a second is not to be asked by all who
// wait, once a second.
func (s *step) pause(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := time.Now().Add(d); until.After(s.until) {
		s.until = until
	}
	s.careful, s.allowed = true, 1
}

// admit takes an attempt, or tells how long to wait for one. Who was admitted
// calls pause or attempted.
func (s *step) admit() (wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch wait = time.Until(s.until); {
	case wait > 0:
		return wait
	case !s.careful:
		return 0
	case s.allowed == 0:
		return time.Second
	}
	s.allowed--
	return 0
}

// attempted gives the attempt back, after a success with one more.
func (s *step) attempted(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.careful {
		return
	}
	if s.allowed++; err == nil {
		s.allowed++
	}
	s.careful = s.allowed <= unlimited
}
