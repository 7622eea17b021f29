package conform

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// outcome is what an answer to a valid event means for the chain.
type outcome int

const (
	neither outcome = iota
	continued
	stopped
)

// first sends one event, over a connection of its own, and tells how long the
// answer took: an endpoint that was scaled to zero has to start for it.
func (s *suite) first(ctx context.Context) error {
	got, err := s.send(ctx, binary(s.base))
	if err != nil && got.status == 0 {
		return err // nobody to check
	}
	s.time.Cases = 1
	s.time.Note = got.took.Round(10 * time.Microsecond).String()
	return nil
}

// validEvents sends changes of every kind, in both modes.
func (s *suite) validEvents(ctx context.Context) {
	want := neither
	if s.Continues != nil {
		want = continued
	}
	for _, flag := range []*bool{nil, new(true)} {
		e := s.base
		e.Continue = flag
		s.valid(ctx, fmt.Sprintf("an event with continue %v", flag != nil), e, want)
	}
	if s.Stops != nil {
		s.valid(ctx, "an event to stop at", foreign(*s.Stops), stopped)
	}
	for _, sample := range []struct {
		name string
		of   func(event.Action) event.Event
	}{{"a namespaced object", Sample}, {"an object of no namespace", SampleClusterScoped}, {"an odd name", SampleOddName}} {
		for _, action := range []event.Action{event.Add, event.Update, event.Delete} {
			s.valid(ctx, string(action)+" of "+sample.name, foreign(sample.of(action)), neither)
		}
	}
	for i, e := range s.Events {
		s.valid(ctx, fmt.Sprintf("event %d", i+1), foreign(e), neither)
	}
}

// valid sends an event in both modes; want, if it is known, is what the answer
// has to mean.
func (s *suite) valid(ctx context.Context, name string, e event.Event, want outcome) {
	for _, m := range []struct {
		mode string
		message
	}{{"binary", binary(e)}, {"structured", structured(e)}} {
		of := name + ", " + m.mode
		got, err := s.send(ctx, m.message)
		if err != nil {
			s.continues.Cases++
			s.continues.add(Breach, of, "%v", err)
			continue
		}
		switch is := s.judge(of, e, got); {
		case want == continued && is == stopped:
			s.continues.add(Breach, of, "stops, and should continue")
		case want == stopped && is == continued:
			s.stops.add(Breach, of, "continues, and should stop")
		}
	}
}

// flagged is how many stops the flag brings about.
const flagged = 2

// flag sends what an earlier function has stopped.
func (s *suite) flag(ctx context.Context) {
	e := s.base
	e.Continue = new(false)
	for mode, m := range map[string]message{"binary": binary(e), "structured": structured(e)} {
		of := "continue=false, " + mode
		got, err := s.send(ctx, m)
		if err != nil {
			s.stops.Cases++
			s.stops.add(Breach, of, "%v", err)
		} else if s.judge(of, e, got) == continued {
			s.stops.Cases++
			s.stops.add(Breach, of, "continues: want 204 at once, another function has stopped the chain")
		}
	}
}

// judge reads the answer to a valid event as the watcher and Knative do.
func (s *suite) judge(of string, e event.Event, got answer) outcome {
	switch {
	case got.status/100 != 2:
		s.continues.Cases++
		s.continues.add(Breach, of, "answered %d to a valid event: %s", got.status, shown(got.body))
		return neither
	case event.IsCloudEvent(got.header) && len(got.body) > 0:
		return s.judgeEvent(of, e, got)
	case len(got.body) == 0:
		s.judgeStop(of, got)
		return stopped
	}
	return s.judgePlain(of, got)
}

func (s *suite) judgeEvent(of string, e event.Event, got answer) outcome {
	out, err := event.Decode(got.header, got.body)
	if err != nil {
		s.continues.Cases++
		s.continues.add(Breach, of, "the reply is no event of the contract: %v", err)
		return neither
	}
	if out.Continue != nil && !*out.Continue {
		s.stops.Cases++
		s.stops.add(Advice, of, "answered an event with continue=false: an empty 204 also ends a Knative Sequence here")
		return stopped
	}
	s.continues.Cases++
	if got.status != http.StatusOK {
		s.continues.add(Advice, of, "answered %d with an event: want 200", got.status)
	}
	s.compareAttributes(of, attributes(e), got.attributes())
	s.compareData(of, e, out)
	return continued
}

func (s *suite) compareAttributes(of string, want, have map[string]string) {
	s.attributes.Cases++
	want["continue"] = "true"
	for _, name := range sortedKeys(want) {
		is, ok := have[name]
		switch {
		case !ok:
			s.attributes.add(Breach, of, "%s is gone: want %s", name, shown([]byte(want[name])))
		case !same(name, want[name], is):
			s.attributes.add(Breach, of, "%s was changed from %s to %s", name, shown([]byte(want[name])), shown([]byte(is)))
		}
	}
}

// same tells whether an attribute means what it meant.
func same(name, was, is string) bool {
	switch name {
	case "time": // any spelling of the same instant will do
		a, errA := time.Parse(time.RFC3339Nano, was)
		b, errB := time.Parse(time.RFC3339Nano, is)
		return errA == nil && errB == nil && a.Equal(b)
	case "datacontenttype":
		media, _, err := mime.ParseMediaType(is)
		return err == nil && media == was
	}
	return was == is
}

// compareData looks at what a function may change but should keep: what it does
// not know.
func (s *suite) compareData(of string, e, out event.Event) {
	s.data.Cases++
	for name, value := range e.Extra {
		is, ok := out.Extra[name]
		switch {
		case !ok:
			s.data.add(Advice, of, "member %s of data is gone: another function put it there", name)
		case !bytes.Equal(digits(value), digits(is)):
			s.data.add(Advice, of, "member %s of data was changed from %s to %s", name, value, shown(is))
		}
	}
}

// digits is JSON in one spelling, with its numbers kept digit by digit.
func digits(raw json.RawMessage) []byte {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return raw
	}
	return encode(v)
}

func (s *suite) judgeStop(of string, got answer) {
	s.stops.Cases++
	if got.status != http.StatusNoContent {
		s.stops.add(Advice, of, "answered %d with an empty body: want 204", got.status)
	}
	if names := contextHeaders(got.header); len(names) > 0 {
		s.stops.add(Breach, of, "an empty body with %s: a stop has no ce- header", strings.Join(names, ", "))
	}
	switch reason := got.header.Get(event.ReasonHeader); {
	case strings.TrimSpace(reason) == "":
		s.stops.add(Advice, of, "no header %s: nobody learns why", event.ReasonHeader)
	case len(reason) > maxErrorBody:
		s.stops.add(Advice, of, "header %s has %d bytes: want one line", event.ReasonHeader, len(reason))
	}
}

// contextHeaders are those of a CloudEvent.
func contextHeaders(header http.Header) []string {
	var out []string
	for _, name := range sortedKeys(header) {
		if strings.HasPrefix(name, "Ce-") {
			out = append(out, name)
		}
	}
	return out
}

// judgePlain reads the answer of an endpoint that knows no CloudEvents.
func (s *suite) judgePlain(of string, got answer) outcome {
	var plain struct{ Continue *bool }
	if json.Unmarshal(got.body, &plain) != nil || plain.Continue == nil {
		s.continues.Cases++
		s.continues.add(Breach, of, `answered %d with neither a CloudEvent nor JSON with "continue" (Content-Type %s): %s`,
			got.status, shown([]byte(got.header.Get("Content-Type"))), shown(got.body))
		return neither
	}
	const only = "plain JSON works in direct mode only: Knative drops what is no CloudEvent"
	if !*plain.Continue {
		s.stops.Cases++
		s.stops.add(Advice, of, only)
		return stopped
	}
	s.continues.Cases++
	s.continues.add(Advice, of, only)
	return continued
}

// shown is a short line of what somebody else wrote.
func shown(text []byte) string {
	const most = 120
	line := strings.Join(strings.Fields(strings.ToValidUTF8(string(text[:min(len(text), 4*most)]), "\uFFFD")), " ")
	if r := []rune(line); len(r) > most {
		line = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", line)
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
