package slack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/slack-go/slack"

	"github.com/kwatchman/kwatchman/event"
)

const (
	postTimeout = 10 * time.Second // less than the watcher waits for an answer
	maxAnswer   = 64 << 10         // bytes of headers, and of a body nobody reads
	// defaultWait is asked for when Slack limits the rate without a usable
	// Retry-After: its webhooks take about one message a second.
	defaultWait = time.Second
	maxWait     = 5 * time.Minute // the watcher waits no longer either
)

// poster posts messages to one webhook.
type poster struct {
	webhook string // a secret: no error and no log line may hold it
	client  *http.Client
}

func newPoster(webhook string, timeout time.Duration) *poster {
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxAnswer,
	}
	return &poster{webhook: webhook, client: &http.Client{
		Transport: bounded{transport},
		Timeout:   timeout,
		// A webhook does not redirect, and where it would lead is not to be
		// trusted with a message.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// post sends one message. Its error says how the event is to be answered.
func (p *poster) post(ctx context.Context, msg *slack.WebhookMessage) error {
	return failure(slack.PostWebhookCustomHTTPContext(ctx, p.webhook, p.client, msg))
}

// failure turns an error of slack-go into one that says whether to try again.
// Their texts are not passed on: most hold the webhook URL, some what was
// answered, which may repeat it.
func failure(err error) error {
	if err == nil {
		return nil
	}
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		return rateLimited(limited.RetryAfter)
	}
	if _, ok := errors.AsType[*strconv.NumError](err); ok {
		return rateLimited(0) // a 429 whose Retry-After is no number, such as a date
	}
	if status, ok := errors.AsType[slack.StatusCodeError](err); ok {
		return refused(status.Code)
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("post to Slack: %w", context.Canceled) // the caller has gone
	}
	if errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err) {
		return &event.Error{Status: http.StatusGatewayTimeout, Err: errors.New("post to Slack: no answer in time")}
	}
	return &event.Error{Status: http.StatusBadGateway, Err: errors.New("post to Slack: " + cause(err))}
}

func rateLimited(wait time.Duration) error {
	if wait <= 0 {
		wait = defaultWait
	}
	return &event.Error{
		Status: http.StatusTooManyRequests, RetryAfter: min(wait, maxWait),
		Err: errors.New("post to Slack: rate limited"),
	}
}

// refused is for an answer other than 200. Only the code is taken: the rest of
// the status line is free text.
func refused(code int) error {
	err := fmt.Errorf("post to Slack: answered %d %s", code, http.StatusText(code))
	switch {
	case code >= 200 && code < 300:
		return nil // no Slack, but something that took the message
	case code == http.StatusTooManyRequests:
		return rateLimited(0)
	case code == http.StatusRequestTimeout:
		return &event.Error{Status: http.StatusGatewayTimeout, Err: err}
	case code >= 500:
		return &event.Error{Status: http.StatusServiceUnavailable, Err: err}
	}
	return event.Permanent(err)
}

// cause explains an error of the network. Only errors that hold addresses and
// names of hosts at most are quoted.
func cause(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e.Error()
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "the server does not speak TLS"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection was closed"
	}
	return "no valid HTTP answer"
}

// bounded cuts the bodies of answers, which slack-go reads to their end.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}
