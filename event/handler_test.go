package event_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

// answer posts e to a function that returns out and err, and keeps what is
// logged meanwhile.
func answer(t *testing.T, e event.Event, out *event.Event, err error) (resp *httptest.ResponseRecorder, logs string) {
	t.Helper()
	var b bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&b, nil)))
	defer slog.SetDefault(before)
	r, reqErr := event.NewRequest(t.Context(), "http://127.0.0.1", &e)
	require.NoError(t, reqErr)
	h := event.Handler(func(context.Context, event.Event) (*event.Event, error) { return out, err })
	resp = httptest.NewRecorder()
	h.ServeHTTP(resp, r)
	return resp, b.String()
}

func TestFailureIsAnsweredWithItsStatus(t *testing.T) {
	cause := errors.New("post: refused")
	for name, c := range map[string]struct {
		err        error
		status     int
		retryAfter string
		text       string
	}{
		"any error":              {cause, 500, "", "post: refused\n"},
		"permanent":              {event.Permanent(cause), 422, "", "post: refused\n"},
		"with a status":          {&event.Error{Status: 503, Err: cause}, 503, "", "post: refused\n"},
		"wrapped":                {fmt.Errorf("slack: %w", &event.Error{Status: 429, Err: cause}), 429, "", "slack: post: refused\n"},
		"a whole wait":           {&event.Error{Status: 429, RetryAfter: 30 * time.Second, Err: cause}, 429, "30", "post: refused\n"},
		"a broken wait":          {&event.Error{Status: 429, RetryAfter: 1200 * time.Millisecond, Err: cause}, 429, "2", "post: refused\n"},
		"a short wait":           {&event.Error{Status: 429, RetryAfter: time.Nanosecond, Err: cause}, 429, "1", "post: refused\n"},
		"a wait of nothing":      {&event.Error{Status: 429, RetryAfter: -time.Second, Err: cause}, 429, "", "post: refused\n"},
		"no status":              {&event.Error{Err: cause}, 500, "", "post: refused\n"},
		"the status of success":  {&event.Error{Status: 200, Err: cause}, 500, "", "post: refused\n"},
		"a status and no cause":  {&event.Error{Status: 504}, 504, "", "Gateway Timeout\n"},
		"neither":                {&event.Error{}, 500, "", "Internal Server Error\n"},
		"lines and control":      {errors.New("a\r\nb\x1b[31m\u009b\xffc"), 500, "", "a  b [31m  c\n"},
		"a caller that went off": {context.Canceled, 500, "", "context canceled\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, logs := answer(t, eventtest.Sample(event.Add), nil, c.err)
			require.Equal(t, c.status, got.Code)
			require.Equal(t, c.text, got.Body.String())
			require.Equal(t, c.retryAfter, got.Header().Get("Retry-After"))
			require.Equal(t, "text/plain; charset=utf-8", got.Header().Get("Content-Type"))
			require.Contains(t, logs, `"msg":"event not handled"`)
			require.Contains(t, logs, `"id":"`+eventtest.Sample(event.Add).ID+`"`)
		})
	}
}

func TestErrorBodyIsCutAtARune(t *testing.T) {
	for shift := range 4 {
		long := strings.Repeat("x", shift) + strings.Repeat("😀", 1000)
		got, _ := answer(t, eventtest.Sample(event.Add), nil, errors.New(long))
		body := got.Body.String()
		require.LessOrEqual(t, len(body), event.MaxErrorBody)
		require.Greater(t, len(body), event.MaxErrorBody-8)
		require.True(t, utf8.ValidString(body))
		require.True(t, strings.HasSuffix(body, "😀…\n"), "the cut is marked")
	}
	exact := strings.Repeat("x", event.MaxErrorBody-1)
	got, _ := answer(t, eventtest.Sample(event.Add), nil, errors.New(exact))
	require.Equal(t, exact+"\n", got.Body.String(), "what fits is not cut")
}

func TestStopIsEmptyAndSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"a reason":          {event.Stop("nothing is left"), "nothing is left"},
		"a wrapped reason":  {fmt.Errorf("diff: %w", event.Stop("nothing is left")), "nothing is left"},
		"a reason of lines": {event.Stop("a\r\nSet-Cookie: b"), "a  Set-Cookie: b"},
		"a long reason":     {event.Stop(strings.Repeat("ü", 200)), strings.Repeat("ü", 126) + "…"},
		"no reason":         {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, logs := answer(t, eventtest.Sample(event.Add), nil, c.err)
			require.Equal(t, http.StatusNoContent, got.Code)
			require.Empty(t, got.Body.Bytes())
			require.Equal(t, c.want, got.Header().Get(event.ReasonHeader))
			require.Empty(t, logs, "a stop is a success")
		})
	}
}

func TestFunctionCannotChangeTheContext(t *testing.T) {
	in := eventtest.Sample(event.Update)
	in.Extensions = map[string]string{"myext": "a"}
	out := eventtest.SampleOddName(event.Update)
	out.Action = event.Add
	out.Continue = new(false)
	out.Payload = event.TextPayload("text/plain", "new")
	got, _ := answer(t, in, &out, nil)
	require.Equal(t, http.StatusOK, got.Code)
	reply, err := event.Decode(got.Header(), got.Body.Bytes())
	require.NoError(t, err)
	want := in
	want.Continue = new(true)
	want.Change = out.Change
	want.Action = event.Update
	require.Equal(t, want.ChangedBy, reply.ChangedBy)
	reply.Change, want.Change = event.Change{}, event.Change{}
	require.Equal(t, want, reply)
	require.Contains(t, got.Body.String(), `"payload":{"contentType":"text/plain","data":"new"}`)
}

func TestReplyThatCannotBeEncodedIsPermanent(t *testing.T) {
	for want, spoil := range map[string]func(*event.Event){
		"encode data: ": func(e *event.Event) {
			e.Payload = &event.Payload{ContentType: "application/json", Data: json.RawMessage("{broken")}
		},
		"invalid answer: data of action Update needs a JSON object in oldObject\n": func(e *event.Event) { e.OldObject = nil },
	} {
		out := eventtest.Sample(event.Update)
		spoil(&out)
		got, _ := answer(t, eventtest.Sample(event.Update), &out, nil)
		require.Equal(t, event.StatusPermanent, got.Code)
		require.Contains(t, got.Body.String(), want)
	}
}

// A connection that breaks says nothing about the event: the sender tries again.
func TestBodyThatBreaksOffIsRetryable(t *testing.T) {
	before := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	defer slog.SetDefault(before)
	e := eventtest.Sample(event.Add)
	r, err := event.NewRequest(t.Context(), "http://127.0.0.1", &e)
	require.NoError(t, err)
	r.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
	got := httptest.NewRecorder()
	event.Handler(nil).ServeHTTP(got, r)
	require.Equal(t, http.StatusRequestTimeout, got.Code)
	require.True(t, event.Retryable(got.Code))
}

func TestRetryableStatuses(t *testing.T) {
	for status := 100; status < 600; status++ {
		switch status {
		case 404, 408, 409, 429:
			require.True(t, event.Retryable(status), status)
		default:
			require.Equal(t, status >= 500, event.Retryable(status), status)
		}
	}
	require.False(t, event.Retryable(event.StatusPermanent))
}

func TestFunctionRunsUnderTheContextOfItsRequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e := eventtest.Sample(event.Add)
	r, err := event.NewRequest(ctx, "http://127.0.0.1", &e)
	require.NoError(t, err)
	h := event.Handler(func(ctx context.Context, _ event.Event) (*event.Event, error) {
		require.ErrorIs(t, ctx.Err(), context.Canceled)
		return nil, nil
	})
	h.ServeHTTP(httptest.NewRecorder(), r)
}
