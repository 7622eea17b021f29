package conform

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/kwatchman/kwatchman/event"
)

// bad is a request that has to be refused.
type bad struct {
	name string
	message
	status int
	// level is how bad it is to accept it: a Breach where the contract names
	// the case.
	level Level
	names string // what the refusal should name
}

// refusals sends what is no event of the contract.
func (s *suite) refusals(ctx context.Context) {
	for _, b := range slices.Concat(s.missing(), s.broken(), s.foreign(), s.huge(), s.methods()) {
		got, err := s.send(ctx, b.message)
		if err != nil {
			s.errors.Cases++
			s.errors.add(Breach, b.name, "%v", err)
			continue
		}
		s.refused(&s.errors, b, got)
	}
}

// missing are events without one of their attributes.
func (s *suite) missing() []bad {
	optional := []string{"namespace", "traceparent", "tracestate", "myext", "continue"}
	var out []bad
	for _, name := range sortedKeys(attributes(s.base)) {
		if slices.Contains(optional, name) {
			continue
		}
		header, level := "Ce-"+name, Breach
		if name == "datacontenttype" {
			header, level = "Content-Type", Advice
		}
		names := name
		if name == "specversion" {
			names = "" // it may just be called no CloudEvent
		}
		out = append(out,
			bad{"no " + name + ", binary", binary(s.base).with(header, ""), http.StatusBadRequest, level, names},
			bad{
				"no " + name + ", structured", structured(s.base).edit(func(m map[string]any) { delete(m, name) }),
				http.StatusBadRequest, level, names,
			})
	}
	return out
}

// broken are messages that the contract names: broken JSON and wrong types.
func (s *suite) broken() []bad {
	good, inJSON := binary(s.base), structured(s.base)
	cut := func(m message) message { m.body = m.body[:len(m.body)-2]; return m }
	text := func(m message, body string) message { m.body = []byte(body); return m }
	return all(Breach, []bad{
		{name: "an empty body", message: text(good, "")},
		{name: "broken JSON", message: cut(good)},
		{name: "broken JSON in structured mode", message: cut(inJSON)},
		{name: "no JSON in structured mode", message: text(inJSON, "hello")},
		{name: "null as data", message: text(good, "null")},
		{name: "a list as data", message: text(good, "[]")},
		{name: "plain JSON that is no CloudEvent", message: message{http.MethodPost, http.Header{"Content-Type": {"application/json"}}, good.body}},
		{name: "no action", message: good.edit(func(m map[string]any) { delete(m, "action") })},
		{name: "an unknown action", message: good.set("action", "Rename").with("Ce-Type", "dev.kwatchman.resource.rename")},
		{name: "a number as action", message: good.set("action", 1)},
		{name: "a type of somebody else", message: good.with("Ce-Type", "com.example.object.add")},
		{name: "no manifest", message: good.edit(func(m map[string]any) { delete(m, "object"); delete(m, "oldObject") })},
		{name: "a manifest that is no object", message: good.edit(func(m map[string]any) { m["object"], m["oldObject"] = 1, 2 })},
	})
}

// foreign are messages that a thorough function refuses too.
func (s *suite) foreign() []bad {
	good, inJSON := binary(s.base), structured(s.base)
	return all(Advice, []bad{
		{name: "two JSON values", message: message{http.MethodPost, good.header, append(bytes.Clone(good.body), "{}"...)}},
		{name: "a list of events", message: inJSON.with("Content-Type", "application/cloudevents-batch+json")},
		{name: "text as content type", message: good.with("Content-Type", "text/plain")},
		{name: "XML as content type", message: good.with("Content-Type", "application/xml")},
		{name: "XML in structured mode", message: inJSON.with("Content-Type", "application/cloudevents+xml")},
		{name: "a form", message: message{http.MethodPost, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte("a=b")}},
		{name: "a specversion of the future", message: good.with("Ce-Specversion", "9.0")},
		{name: "an action in another case", message: good.set("action", strings.ToUpper(string(s.base.Action)))},
		{name: "a type that does not fit", message: good.with("Ce-Type", otherType(s.base))},
		{name: "a time that is none", message: good.with("Ce-Time", "yesterday")},
		{name: "a continue that is no flag", message: good.with("Ce-Continue", "perhaps")},
		{name: "a name that is not path-escaped", message: good.with("Ce-Name", "100%")},
		{name: "a source that is no URI", message: good.with("Ce-Source", "http://[::1")},
		{name: "a line break in an attribute", message: inJSON.set("myext", "a\r\nSet-Cookie: b")},
		{name: "an object as extension", message: inJSON.set("myext", map[string]any{"a": 1})},
	})
}

// huge are wrong values at a length that must not come back.
func (s *suite) huge() []bad {
	good, inJSON := binary(s.base), structured(s.base)
	long := strings.Repeat("x", 20<<10)
	return all(Advice, []bad{
		{name: "a huge type", message: good.with("Ce-Type", long)},
		{name: "a huge time", message: good.with("Ce-Time", long)},
		{name: "a huge source", message: good.with("Ce-Source", "http://[::1"+long)},
		{name: "a huge continue", message: good.with("Ce-Continue", long)},
		{name: "a huge content type", message: good.with("Content-Type", long)},
		{name: "a huge action", message: good.set("action", strings.Repeat("ü\n", 50<<10))},
		{name: "a huge payload of the wrong form", message: good.set("payload", strings.Repeat("x", 50<<10))},
		{name: "a huge time in structured mode", message: inJSON.set("time", long)},
		{name: "a huge wrong member of the context", message: inJSON.set("id", []string{long})},
	})
}

func (s *suite) methods() []bad {
	var out []bad
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		m := binary(s.base)
		m.method = method
		out = append(out, bad{name: "the method " + method, message: m, status: http.StatusMethodNotAllowed, level: Advice})
	}
	return out
}

func all(level Level, of []bad) []bad {
	for i := range of {
		of[i].status, of[i].level = http.StatusBadRequest, level
	}
	return of
}

func otherType(e event.Event) string {
	if e.Action == event.Delete {
		return "dev.kwatchman.resource.add"
	}
	return "dev.kwatchman.resource.delete"
}

// refused judges a refusal: its status, and one clear line of text.
func (s *suite) refused(r *Result, b bad, got answer) {
	r.Cases++
	switch {
	case len(got.body) > maxErrorBody && got.status/100 != 2:
		r.add(Breach, b.name, "an error body of %d bytes: Knative's dispatcher takes %d at most", len(got.body), maxErrorBody)
	case got.status/100 == 2:
		r.add(b.level, b.name, "answered %d: want %d", got.status, b.status)
		return
	case event.Retryable(got.status):
		r.add(b.level, b.name, "answered %d, which is tried again: want %d", got.status, b.status)
		return
	case got.status != b.status:
		r.add(Advice, b.name, "answered %d: want %d", got.status, b.status)
		return
	}
	text := strings.TrimSpace(string(got.body))
	switch {
	case text == "":
		r.add(Advice, b.name, "the error says nothing: want one line that says what is wrong")
	case strings.ContainsAny(text, "\r\n"):
		r.add(Advice, b.name, "the error has several lines: want one")
	case !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain"):
		r.add(Advice, b.name, "the error is %s: want text/plain", shown([]byte(got.header.Get("Content-Type"))))
	case !strings.Contains(text, b.names):
		r.add(Advice, b.name, "the error does not name %s: %s", b.names, shown(got.body))
	case len(contextHeaders(got.header)) > 0:
		r.add(Advice, b.name, "the error has the headers of an event")
	case b.status == http.StatusMethodNotAllowed && got.header.Get("Allow") != http.MethodPost:
		r.add(Advice, b.name, "want the header Allow: POST")
	}
}

// sizes sends bodies at the limit and beyond it.
func (s *suite) sizes(ctx context.Context) {
	full := bytes.Repeat([]byte("x"), maxBody)
	for name, body := range map[string]io.Reader{
		"8 MiB and a byte, announced": bytes.NewReader(append(bytes.Clone(full), 'x')),
		// The client cannot tell the length of two readers, so it sends chunks.
		"8 MiB and a byte, in chunks": io.MultiReader(bytes.NewReader(full), strings.NewReader("x")),
	} {
		b := bad{name: name, status: http.StatusRequestEntityTooLarge, level: Breach}
		got, err := s.sendBody(ctx, binary(s.base), body)
		switch {
		case errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET):
			s.large.Cases++
			s.large.add(Advice, name, "closed the connection before its answer was read: read or drain the body first")
		case err != nil:
			s.large.Cases++
			s.large.add(Breach, name, "%v", err)
		default:
			s.refused(&s.large, b, got)
		}
	}
	// Nearly: the answer carries the flag, a diff and a payload too, and has to
	// stay within the limit itself.
	const just, room = "nearly 8 MiB", 256 << 10
	e := s.base
	m := binary(e)
	pad := maxBody - room - len(m.body)
	m.body = append(m.body[:len(m.body)-1], `,"padding":"`+strings.Repeat("x", pad)+`"}`...)
	s.large.Cases++
	switch got, err := s.send(ctx, m); {
	case err != nil:
		s.large.add(Breach, just, "%v", err)
	case got.status/100 != 2:
		s.large.add(Breach, just, "answered %d to an event of %d bytes: %s", got.status, len(m.body), shown(got.body))
	}
}
