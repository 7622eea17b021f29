package event

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

// MaxBody is the largest request body in bytes: an old and a new object of
// etcd's usual limit of 1.5 MiB each, their merge patch and the capped diff,
// with room for JSON escapes.
const MaxBody = 8 << 20

// maxTrust is how much memory a request gets before it has sent anything.
const maxTrust = 64 << 10

// MaxErrorBody bounds an error body in bytes: Knative's dispatcher panics on a
// longer one when a dead-letter sink is set.
const MaxErrorBody = 768

// ReasonHeader says in one line why a function stopped the chain.
const ReasonHeader = "Kwatchman-Reason"

// StatusPermanent is answered for a failure that another attempt cannot mend.
// Neither the watcher nor Knative retries it.
const StatusPermanent = http.StatusUnprocessableEntity

// Handler is a function of the chain. It returns the event to continue with,
// or nil to stop, with Stop(reason) as the error to say why. Any other error
// is a failure: see Error for its status.
type Handler func(ctx context.Context, e Event) (*Event, error)

// Error is a failure with the status that it is answered with. Any other error
// is answered with 500, which is retried.
type Error struct {
	Status     int
	RetryAfter time.Duration // sent as Retry-After, rounded up to seconds, if positive
	Err        error
}

func (e *Error) Error() string {
	if e.Err == nil { // a status alone says enough for some
		return http.StatusText(e.Status)
	}
	return e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Permanent marks a failure that another attempt cannot mend.
func Permanent(err error) error { return &Error{Status: StatusPermanent, Err: err} }

// Retryable is the one place that decides which status means try again
// (Knative retries the same ones).
func Retryable(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusNotFound, http.StatusConflict, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// stop is the reason of a function that ends the chain as a success.
type stop string

func (s stop) Error() string { return "stop: " + string(s) }

// Stop is returned with a nil event to end the chain as a success; reason is
// one line for people.
func Stop(reason string) error { return stop(reason) }

// ServeHTTP is the function's side of the handler protocol: an event in, in
// binary or structured mode, and 200 with an event in binary mode, 204 to stop,
// or a status with one line of text out.
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in, err := receive(w, r)
	if err != nil {
		fail(w, r, "", err)
		return
	}
	if in.Continue != nil && !*in.Continue {
		answerStop(w, "continue is false")
		return
	}
	out, err := h(r.Context(), in)
	reason, stopped := errors.AsType[stop](err)
	switch {
	case stopped:
		answerStop(w, string(reason))
	case err != nil:
		fail(w, r, in.ID, err)
	case out == nil:
		answerStop(w, "")
	default:
		if err := answerContinue(w, r, &in, *out); err != nil {
			fail(w, r, in.ID, err)
		}
	}
}

func receive(w http.ResponseWriter, r *http.Request) (Event, error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return Event{}, &Error{Status: http.StatusMethodNotAllowed, Err: errors.New("want POST with a CloudEvent")}
	}
	tooLarge := &Error{
		Status: http.StatusRequestEntityTooLarge,
		Err:    fmt.Errorf("body is larger than %d bytes", MaxBody),
	}
	if r.ContentLength > MaxBody {
		return Event{}, tooLarge
	}
	var body bytes.Buffer
	if r.ContentLength > 0 { // one buffer of the right size, unless that is only claimed
		body.Grow(int(min(r.ContentLength, maxTrust)) + bytes.MinRead)
	}
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, MaxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Event{}, tooLarge
	}
	if err != nil {
		// The connection failed, not the event: another attempt may bring it.
		return Event{}, &Error{Status: http.StatusRequestTimeout, Err: fmt.Errorf("read body: %w", err)}
	}
	e, err := Decode(r.Header, body.Bytes())
	if err != nil {
		return Event{}, &Error{Status: http.StatusBadRequest, Err: err}
	}
	return e, nil
}

// answerContinue sends out with the context of in: whatever the function did to
// its copy, id, source, type, subject and every extension stay.
func answerContinue(w http.ResponseWriter, r *http.Request, in *Event, out Event) error {
	change := out.Change
	change.Action = in.Action
	out = *in
	out.Change = change
	out.Continue = new(true)
	if err := out.Validate(); err != nil { // here, not as a 400 of the next function
		return Permanent(fmt.Errorf("invalid answer: %w", err))
	}
	reply, err := out.ToCloudEvent()
	if err != nil {
		return Permanent(err)
	}
	if err := cehttp.WriteResponseWriter(r.Context(), (*binding.EventMessage)(&reply), http.StatusOK, w); err != nil {
		slog.WarnContext(r.Context(), "answer not written", "id", in.ID, "error", err)
	}
	return nil
}

func answerStop(w http.ResponseWriter, reason string) {
	if reason != "" {
		w.Header().Set(ReasonHeader, clip(oneLine(reason), 256))
	}
	w.WriteHeader(http.StatusNoContent)
}

// fail logs and answers an error: the caller sees one line, the operator of
// the function the same.
func fail(w http.ResponseWriter, r *http.Request, id string, err error) {
	status := http.StatusInternalServerError
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Status >= 400 && e.Status < 600 { // anything else would pass for a success
			status = e.Status
		}
		if e.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
		}
	}
	text := clip(oneLine(cmp.Or(err.Error(), http.StatusText(status))), MaxErrorBody-1)
	slog.WarnContext(r.Context(), "event not handled", "id", id, "status", status, "error", text)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the caller may be gone; the failure is logged
}
