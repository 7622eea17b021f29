package slack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/unreached"
)

const (
	maxHeader = 64 << 10 // bytes
	// maxAnswer bounds a body in bytes: two hundred messages with their blocks,
	// as the history of a channel gives them.
	maxAnswer = 16 << 20
	// defaultWait is asked for when Slack limits the rate without a usable
	// Retry-After: it takes about one message a second.
	defaultWait = time.Second
	maxWait     = 5 * time.Minute // the watcher waits no longer either
)

// failure turns an error of slack-go into one that says whether to try again.
// doing starts its text. Their texts are not passed on: most hold the webhook
// URL, some what was answered, which may repeat it.
func failure(doing string, err error) error {
	if err == nil {
		return nil
	}
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		return rateLimited(doing, limited.RetryAfter)
	}
	if _, ok := errors.AsType[*strconv.NumError](err); ok {
		return rateLimited(doing, 0) // a 429 whose Retry-After is no number, such as a date
	}
	if status, ok := errors.AsType[slack.StatusCodeError](err); ok {
		return refused(doing, status)
	}
	if answer, ok := errors.AsType[slack.SlackErrorResponse](err); ok {
		return notOK(doing, answer.Err)
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", doing, context.Canceled) // the caller has gone
	}
	if errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err) {
		return &event.Error{Status: http.StatusGatewayTimeout, Err: errors.New(doing + ": no answer in time")}
	}
	return &event.Error{Status: http.StatusBadGateway, Err: errors.New(doing + ": " + unreached.Cause(err))}
}

func rateLimited(doing string, wait time.Duration) error {
	if wait <= 0 {
		wait = defaultWait
	}
	return &event.Error{
		Status: http.StatusTooManyRequests, RetryAfter: min(wait, maxWait),
		Err: errors.New(doing + ": rate limited"),
	}
}

// refused is for an answer other than 200. Of the status line only the code is
// taken, and the word that bounded put there: the rest is free text.
func refused(doing string, status slack.StatusCodeError) error {
	err := fmt.Errorf("%s: answered %d %s", doing, status.Code, http.StatusText(status.Code))
	_, word, _ := strings.Cut(status.Status, wordMark)
	switch {
	case status.Code >= 200 && status.Code < 300:
		return nil // no Slack, but something that took the message
	case status.Code == http.StatusTooManyRequests:
		return rateLimited(doing, 0)
	case status.Code == http.StatusRequestTimeout:
		return &event.Error{Status: http.StatusGatewayTimeout, Err: err}
	case status.Code >= 500:
		return &event.Error{Status: http.StatusServiceUnavailable, Err: err}
	case word != "":
		return event.Permanent(fmt.Errorf("%w: %s", err, explained(word)))
	}
	return event.Permanent(err)
}

// notOK is for an answer of the API that carries an error by name.
func notOK(doing, word string) error {
	if !isWord.MatchString(word) {
		return &event.Error{Status: http.StatusBadGateway, Err: errors.New(doing + ": refused without a reason")}
	}
	err := errors.New(doing + ": " + explained(word))
	switch word {
	case "ratelimited", "rate_limited", "message_limit_exceeded":
		return rateLimited(doing, 0)
	case "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org":
		return &event.Error{Status: http.StatusServiceUnavailable, Err: err}
	}
	return event.Permanent(err)
}

// isWord tells a name that Slack gives an error from text that might repeat a
// secret.
var isWord = regexp.MustCompile(`^[a-z_]{1,64}$`)

// explained is the name of an error with what to do about it, where there is
// something.
func explained(word string) string {
	hint := ""
	switch word {
	case "channel_not_found", "no_such_channel":
		hint = "does the channel exist, and was the app invited to it, if it is private?"
	case "not_in_channel":
		hint = "invite the app to the channel"
	case "is_archived", "channel_is_archived":
		hint = "the channel is archived"
	case "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired":
		hint = "check SLACK_TOKEN"
	case "no_service", "no_active_hooks", "invalid_token", "no_team":
		hint = "the webhook was removed or is wrong: check SLACK_WEBHOOK_URL"
	case "missing_scope", "not_allowed_token_type":
		hint = "give the app the scope chat:write and install it again"
	case "invalid_blocks", "invalid_payload", "msg_too_long", "msg_blocks_too_long":
		hint = "check SLACK_TITLE and SLACK_BODY"
	default:
		return word
	}
	return word + ": " + hint
}

// hasWord tells whether err is an answer of the API with one of these names.
func hasWord(err error, words ...string) bool {
	answer, ok := errors.AsType[slack.SlackErrorResponse](err)
	if !ok {
		return false
	}
	for _, w := range words {
		if answer.Err == w {
			return true
		}
	}
	return false
}

// wordMark stands before the name of an error in a status line that bounded
// wrote.
const wordMark = " slack: "

// bounded cuts the bodies of answers, which slack-go reads to their end, and
// puts the word that is the whole body of a refusal where slack-go keeps it.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body := io.LimitReader(resp.Body, maxAnswer)
	if resp.StatusCode >= 400 {
		start, _ := io.ReadAll(io.LimitReader(body, 100))
		resp.Status = strconv.Itoa(resp.StatusCode)
		if word := string(bytes.TrimSpace(start)); isWord.MatchString(word) {
			resp.Status += wordMark + word
		}
		body = io.LimitReader(body, maxHeader)
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{body, resp.Body}
	return resp, nil
}
