package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/tracing"
)

// Bounds of what an endpoint may ask for or send.
const (
	maxPause   = 5 * time.Minute
	maxReply   = event.MaxBody
	maxIgnored = 64 << 10 // of a sink's reply, which nobody reads
	maxRefusal = 4 << 10  // more than is shown, so that no secret in it is cut in two
)

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

// attempt makes one request with an event and reads the answer. reason is why the
// step stops the chain, if it says so. The error, a *failure, is not yet sanitized.
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
	return s.answer(resp, e)
}

// answer reads what the step answered to an event.
func (s *step) answer(resp *http.Response, e *event.Event) (next *event.Event, reason string, err error) {
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
