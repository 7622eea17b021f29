// Package conform checks that an endpoint keeps the handler protocol: it sends
// events and what is none, and judges every answer. It knows nothing of what the
// endpoint is for, nor of the language that it is written in.
package conform

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// The numbers of the contract, repeated here because a change of one in package
// event is a change of the contract.
const (
	maxBody      = 8 << 20 // bytes
	maxErrorBody = 768     // bytes
)

// DefaultTimeout is the time for one answer: the watcher's for one attempt.
const DefaultTimeout = 15 * time.Second

// Options say what is checked.
type Options struct {
	// URL is the endpoint.
	URL string
	// Timeout bounds one request; 0 stands for DefaultTimeout.
	Timeout time.Duration
	// Continues is an event at which the endpoint continues, Stops one at which
	// it stops. Where it is not known, nil, both answers are fine.
	Continues, Stops *event.Event
	// Events are further ones that it has to answer.
	Events []event.Event
	// Seen, if not nil, gets every answer as text.
	Seen io.Writer
	// Progress, if not nil, is called before each part with its name.
	Progress func(part string)
}

// Level says how bad a finding is.
type Level int

// Kept is what the contract wants; Advice is about what works, but not
// everywhere or not as well; Breach is what the contract forbids.
const (
	Kept Level = iota
	Advice
	Breach
)

func (l Level) String() string { return [...]string{"ok", "advice", "BREACH"}[l] }

// Finding is what is wrong with one answer.
type Finding struct {
	Level Level
	Case  string // what was sent
	Text  string // what is wrong with the answer
}

// Result is what was found of one promise.
type Result struct {
	Name     string
	Cases    int // answers that were judged
	Findings []Finding
	Note     string // what else there is to say
}

// Level is that of the worst finding.
func (r *Result) Level() Level {
	worst := Kept
	for _, f := range r.Findings {
		worst = max(worst, f.Level)
	}
	return worst
}

func (r *Result) add(level Level, of, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{level, of, fmt.Sprintf(format, args...)})
}

// Run checks an endpoint. Its error means that there was nothing to check: the
// URL is none, or nobody answers there. It does not show the URL, which may be a
// secret.
func Run(ctx context.Context, o Options) ([]Result, error) {
	s, err := newSuite(o)
	if err != nil {
		return nil, err
	}
	defer s.client.CloseIdleConnections()
	if err := s.first(ctx); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name string
		run  func(context.Context)
	}{
		{"valid events", s.validEvents},
		{"the flag continue", s.flag},
		{"errors", s.refusals},
		{"sizes", s.sizes},
		{"concurrency", s.concurrency},
	} {
		if o.Progress != nil {
			o.Progress(part.name)
		}
		part.run(ctx)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return s.results(), nil
}

// suite is one run.
type suite struct {
	Options
	client *http.Client
	base   event.Event // what requests are made of

	continues, attributes, data, stops, errors, large, clients, time Result
}

func newSuite(o Options) (*suite, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if _, err := http.NewRequest(http.MethodPost, o.URL, nil); err != nil {
		return nil, fmt.Errorf("is no URL: want http://host:port/path or https://host/path")
	}
	s := &suite{
		Options: o, base: Sample(event.Update),
		continues: Result{Name: "continue"}, attributes: Result{Name: "attributes kept"}, data: Result{Name: "data kept"},
		stops: Result{Name: "stop"}, errors: Result{Name: "errors"}, large: Result{Name: "sizes"},
		clients: Result{Name: "concurrency"}, time: Result{Name: "time to first answer"},
	}
	if o.Continues != nil {
		s.base = *o.Continues
	}
	s.base = foreign(s.base)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = concurrent
	transport.MaxResponseHeaderBytes = 256 << 10
	s.client = &http.Client{
		Transport: transport, Timeout: o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

func (s *suite) results() []Result {
	if s.continues.Cases == 0 {
		s.continues.Note = "not seen: it stops at every event that was sent; name one at which it continues"
	}
	if s.Stops == nil {
		s.stops.Note = "with continue=false; name an event at which it stops to see its own"
		if n := s.stops.Cases - flagged; n > 0 {
			s.stops.Note = fmt.Sprintf("with continue=false, and %d of its own", n)
		}
	}
	return []Result{s.continues, s.attributes, s.data, s.stops, s.errors, s.large, s.clients, s.time}
}
