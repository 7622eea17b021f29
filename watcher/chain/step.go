package chain

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/kwatchman/kwatchman/event"
)

// Bounds of what an endpoint may ask for or send.
const (
	maxPause = 5 * time.Minute
	maxReply = event.MaxBody
)

// step is one endpoint of the chain.
type step struct {
	name   string // for logs: position, scheme and host, never the whole URL, which may be a secret
	url    string
	sink   bool
	client *retryablehttp.Client
	cfg    Config
	log    *slog.Logger

	mu      sync.Mutex
	until   time.Time // paused for everyone until then
	failing bool
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

func newStep(position int, target string, client *retryablehttp.Client, cfg Config) (*step, error) {
	u, err := url.Parse(target)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Fragment != "" {
		return nil, fmt.Errorf("step %d is no URL: want http://host:port/path or https://host/path", position)
	}
	return &step{
		name: fmt.Sprintf("%d %s://%s", position, u.Scheme, u.Host), url: target,
		sink: cfg.Sink, client: client, cfg: cfg, log: cfg.Logger,
	}, nil
}

// newHTTPClient makes one attempt a call: waiting and trying again belong to
// the queue, where a waiting change holds no worker.
func newHTTPClient(cfg Config) (*retryablehttp.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = cfg.Concurrency
	transport.MaxResponseHeaderBytes = 256 << 10
	if cfg.CACerts != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM([]byte(cfg.CACerts)) {
			return nil, errors.New("K_CA_CERTS: holds no PEM certificate")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	client := retryablehttp.NewClient()
	client.RetryMax = 0
	client.Logger = nil // it would log whole URLs
	client.ErrorHandler = retryablehttp.PassthroughErrorHandler
	client.CheckRetry = func(context.Context, *http.Response, error) (bool, error) { return false, nil }
	client.HTTPClient = &http.Client{
		Transport: transport,
		// A redirect would turn the POST into a GET; it is answered as a failure.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return client, nil
}

// call makes one attempt. It returns the event to go on with, nil if the chain
// ends here as a success, or a *failure.
func (s *step) call(ctx context.Context, e *event.Event) (*event.Event, error) {
	next, reason, err := s.attempt(ctx, e)
	s.report(ctx, e, err)
	if err == nil && next == nil && !s.sink {
		s.log.Info("stopped", "step", s.name, "id", e.ID, "subject", e.Subject, "reason", reason)
	}
	return next, err
}

func (s *step) attempt(ctx context.Context, e *event.Event) (next *event.Event, reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	req, err := event.NewRequest(ctx, s.url, e)
	if err != nil {
		return nil, "", permanent(0, "event not encoded: %v", err)
	}
	req.Header.Set("User-Agent", s.cfg.UserAgent)
	wrapped, err := retryablehttp.FromRequest(req)
	if err != nil {
		return nil, "", permanent(0, "request not built: %v", redact(err))
	}
	resp, err := s.client.Do(wrapped)
	if err != nil {
		return nil, "", &failure{reason: redact(err).Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	if err := refusal(resp); err != nil {
		return nil, "", err
	}
	if s.sink {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxReply)) // so that the connection is used again
		return nil, "", nil
	}
	return reply(resp, e)
}

// refusal is the failure that a status means, nil for success. What an
// endpoint says about it is kept, cut short.
func refusal(resp *http.Response) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	f := &failure{status: resp.StatusCode, permanent: !event.Retryable(resp.StatusCode)}
	said, _ := io.ReadAll(io.LimitReader(resp.Body, event.MaxErrorBody))
	f.reason = fmt.Sprintf("answered %d: %s", resp.StatusCode, printable(said))
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		f.pause = min(retryAfter(resp.Header.Get("Retry-After")), maxPause)
	}
	return f
}

// retryAfter reads both forms of the header (RFC 9110, section 10.2.3); 0 if
// there is none to follow.
func retryAfter(v string) time.Duration {
	if seconds, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// redact leaves out the URL that net/http puts in front of its errors.
func redact(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.Is(err, context.Canceled):
		return errors.New("broken off")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Errorf("not reachable: %w", op.Err)
	}
	return err
}

// report says once when a step starts to fail and once when it recovers; each
// attempt in between shows at debug level.
func (s *step) report(ctx context.Context, e *event.Event, err error) {
	f, failed := errors.AsType[*failure](err)
	s.mu.Lock()
	was := s.failing
	s.failing = failed && !f.permanent && ctx.Err() == nil
	is := s.failing
	s.mu.Unlock()
	switch {
	case is && !was:
		s.log.Warn("step fails, trying again", "step", s.name, "id", e.ID, "status", f.status, "error", f.reason)
	case is:
		s.log.Debug("step still fails", "step", s.name, "id", e.ID, "status", f.status, "error", f.reason)
	case was && !failed:
		s.log.Info("step recovered", "step", s.name)
	case !failed:
		s.log.Debug("step done", "step", s.name, "id", e.ID)
	}
}

// pause holds this step back for every subject.
func (s *step) pause(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until := time.Now().Add(d); until.After(s.until) {
		s.until = until
	}
}

func (s *step) pausedFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Until(s.until)
}
