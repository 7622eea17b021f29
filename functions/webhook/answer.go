package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/unreached"
)

const (
	maxIgnored = 64 << 10 // bytes of an answer that nobody reads
	maxSaid    = 200      // characters of an error that are shown
	maxWait    = 5 * time.Minute
)

// codes is a range of status codes.
type codes struct{ from, to int }

func parseCodes(list []string) ([]codes, error) {
	var out []codes
	for _, text := range list {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		from, to, isRange := strings.Cut(text, "-")
		if !isRange {
			to = from
		}
		a, errA := strconv.Atoi(strings.TrimSpace(from))
		b, errB := strconv.Atoi(strings.TrimSpace(to))
		if errA != nil || errB != nil || a < 200 || b > 599 || a > b {
			return nil, errors.New("WEBHOOK_SUCCESS: bad value: want status codes such as 200,202 or 200-299")
		}
		out = append(out, codes{a, b})
	}
	if len(out) == 0 {
		return nil, errors.New("WEBHOOK_SUCCESS: bad value: want a status code such as 200")
	}
	return out, nil
}

func (c *caller) accepted(status int) bool {
	for _, s := range c.success {
		if s.from <= status && status <= s.to {
			return true
		}
	}
	return false
}

// call sends the request, once, and says what the answer means for the event.
func (c *caller) call(ctx context.Context, r *request, e *event.Event) (*event.Event, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, event.Permanent(errors.New("the request cannot be made"))
	}
	req.Header = r.header
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "kwatchman")
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, notAnswered(ctx, r, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if !c.accepted(resp.StatusCode) {
		return nil, refused(r, resp)
	}
	if c.cfg.Reply == "handler" {
		return c.reply(r, resp, e)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxIgnored)) // so that the connection is used again
	return e, nil
}

// notAnswered explains why there is no answer. It may be another time.
func notAnswered(ctx context.Context, r *request, err error) error {
	doing := r.method + " " + r.url.Host
	switch timeout := interface{ Timeout() bool }(nil); {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	case errors.Is(err, errLocal):
		return event.Permanent(fmt.Errorf("%s: %w", doing, errLocal))
	case errors.As(err, &timeout) && timeout.Timeout():
		return &event.Error{Status: http.StatusGatewayTimeout, Err: errors.New(doing + ": no answer in time")}
	}
	return &event.Error{Status: http.StatusBadGateway, Err: errors.New(doing + ": " + r.hide(unreached.Cause(err)))}
}

// refused is for an answer that is no success: what the chain would try again is
// tried again.
func refused(r *request, resp *http.Response) error {
	doing := fmt.Sprintf("%s %s: answered %d", r.method, r.url.Host, resp.StatusCode)
	if resp.StatusCode/100 == 3 {
		return event.Permanent(errors.New(doing + ", and redirects to other hosts or methods are not followed"))
	}
	// More than is shown, so that no secret in it is cut in two.
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 16*maxSaid))
	if text := shown(r.hide(string(said))); text != "" {
		doing += ": " + text
	}
	if !event.Retryable(resp.StatusCode) {
		return event.Permanent(errors.New(doing))
	}
	out := &event.Error{Status: http.StatusServiceUnavailable, Err: errors.New(doing)}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		out.Status = resp.StatusCode
		out.RetryAfter = min(retryAfter(resp.Header.Get("Retry-After")), maxWait)
	}
	return out
}

// retryAfter reads both forms of the header (RFC 9110, section 10.2.3).
func retryAfter(v string) time.Duration {
	if seconds, err := strconv.ParseFloat(v, 64); err == nil && seconds > 0 {
		return time.Duration(min(seconds, maxWait.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// shown is one short line.
func shown(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "\uFFFD"))
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) > maxSaid {
		line = append(line[:maxSaid:maxSaid], '…')
	}
	return string(line)
}

// reply reads the answer of a handler, as a chain in direct mode does: a
// CloudEvent, plain JSON with continue, or an empty body, which stops.
func (c *caller) reply(r *request, resp *http.Response, e *event.Event) (*event.Event, error) {
	doing := fmt.Sprintf("%s %s: the answer ", r.method, r.url.Host)
	body, err := io.ReadAll(io.LimitReader(resp.Body, event.MaxBody+1))
	if err != nil {
		return nil, &event.Error{Status: http.StatusBadGateway, Err: errors.New(doing + "broke off")}
	}
	if len(body) > event.MaxBody {
		return nil, event.Permanent(fmt.Errorf("%sis larger than %d bytes", doing, event.MaxBody))
	}
	reason := r.hide(resp.Header.Get(event.ReasonHeader))
	if len(body) == 0 && !event.IsCloudEvent(resp.Header) {
		return nil, event.Stop(orElse(reason, "the endpoint answered with nothing"))
	}
	var out *event.Event
	if event.IsCloudEvent(resp.Header) {
		var got event.Event
		if got, err = event.Decode(resp.Header, body); err == nil && got.ID != e.ID {
			err = errors.New("id was changed")
		}
		if err == nil && (got.Continue == nil || *got.Continue) {
			out = &got
		}
	} else {
		out, err = event.DecodePlain(resp.Header.Get("Content-Type"), body, e)
	}
	if err != nil {
		return nil, event.Permanent(fmt.Errorf("%sbreaks the contract: %s", doing, r.hide(err.Error())))
	}
	if out == nil {
		return nil, event.Stop(orElse(reason, "the endpoint says continue: false"))
	}
	return out, nil
}

func orElse(text, instead string) string {
	if strings.TrimSpace(text) == "" {
		return instead
	}
	return text
}
