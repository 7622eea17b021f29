package conform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// message is an event on the wire, which a check may spoil before it is sent.
type message struct {
	method string
	header http.Header
	body   []byte
}

// answer is what came back, the body read up to what an answer may have.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

// attributes are those of e by their CloudEvents names, as they travel.
func attributes(e event.Event) map[string]string {
	out := map[string]string{
		"specversion": "1.0", "id": e.ID, "source": e.Source, "subject": e.Subject,
		"type": "dev.kwatchman.resource." + strings.ToLower(string(e.Action)),
		"time": e.Time.Format(time.RFC3339Nano), "datacontenttype": "application/json",
		"cluster": e.Cluster, "apiversion": e.APIVersion, "kind": e.Kind,
		"name": url.PathEscape(e.Name), "partitionkey": e.PartitionKey, "via": e.Via,
	}
	if e.Namespace != "" {
		out["namespace"] = e.Namespace
	}
	if e.Continue != nil {
		out["continue"] = fmt.Sprint(*e.Continue)
	}
	maps.Copy(out, e.Extensions)
	return out
}

// foreign is e with extensions that the contract does not name and with
// members of data that no function of ours knows.
func foreign(e event.Event) event.Event {
	e.Extensions, e.Extra = maps.Clone(e.Extensions), maps.Clone(e.Extra)
	if e.Extensions == nil {
		e.Extensions = map[string]string{}
	}
	if e.Extra == nil {
		e.Extra = map[string]json.RawMessage{}
	}
	e.Extensions["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	e.Extensions["tracestate"] = "vendor=t61rcWkgMzE"
	e.Extensions["myext"] = "kept as it is"
	e.Extra["ticket"] = json.RawMessage(`{"id":12345678901234567890,"tags":["<a>",null]}`)
	return e
}

// binary is e in binary mode. Its headers are written by hand, not by the
// encoder that the functions under test use.
func binary(e event.Event) message {
	header := http.Header{}
	for name, value := range attributes(e) {
		if name == "datacontenttype" {
			header.Set("Content-Type", value)
		} else {
			header.Set("Ce-"+name, value)
		}
	}
	return message{method: http.MethodPost, header: header, body: encode(e.Change)}
}

// structured is e in structured mode.
func structured(e event.Event) message {
	members := map[string]any{"data": json.RawMessage(encode(e.Change))}
	for name, value := range attributes(e) {
		members[name] = value
	}
	return message{
		method: http.MethodPost,
		header: http.Header{"Content-Type": {"application/cloudevents+json; charset=utf-8"}},
		body:   encode(members),
	}
}

// encode is JSON of what always encodes: samples, and events that were decoded.
func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

// edit changes the members of the JSON object in the body: the data in
// binary mode, the whole event in structured mode.
func (m message) edit(edit func(map[string]any)) message {
	var members map[string]any
	if json.Unmarshal(m.body, &members) != nil {
		panic("the body of a message is a JSON object")
	}
	edit(members)
	m.body = encode(members)
	return m
}

// set sets a member of that object.
func (m message) set(name string, value any) message {
	return m.edit(func(members map[string]any) { members[name] = value })
}

// with sets a header; an empty value removes it.
func (m message) with(name, value string) message {
	m.header = m.header.Clone()
	if value == "" {
		m.header.Del(name)
	} else {
		m.header.Set(name, value)
	}
	return m
}

// send posts m. The status is set if there was an answer, though perhaps not a
// whole one.
func (s *suite) send(ctx context.Context, m message) (answer, error) {
	return s.sendBody(ctx, m, bytes.NewReader(m.body))
}

func (s *suite) sendBody(ctx context.Context, m message, body io.Reader) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, m.method, s.URL, body)
	if err != nil {
		return answer{}, errors.New("is no URL")
	}
	r.Header = m.header.Clone()
	r.Header.Set("User-Agent", "kwatchman-conform")
	began := time.Now()
	resp, err := s.client.Do(r)
	if err != nil {
		return answer{}, cause(err)
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	took := time.Since(began)
	if s.Seen != nil {
		if head, err := httputil.DumpResponse(resp, false); err == nil {
			_, _ = s.Seen.Write(append(append(head, content...), '\n')) // in memory
		}
	}
	got := answer{status: resp.StatusCode, header: resp.Header, body: content, took: took}
	if err != nil {
		return got, fmt.Errorf("the answer broke off: %w", cause(err))
	}
	if len(content) > maxBody {
		return got, fmt.Errorf("the answer is larger than %d bytes", maxBody)
	}
	return got, nil
}

// cause leaves out the URL that net/http puts in front of its errors.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		if u.Timeout() {
			return errors.New("no answer in time")
		}
		err = u.Err
	}
	if errors.Is(err, io.EOF) {
		return errors.New("connection closed without an answer")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Errorf("not reachable: %w", op.Err)
	}
	return err
}

// attributes are those of the answer by their CloudEvents names, in either mode.
func (a answer) attributes() map[string]string {
	out := map[string]string{}
	if strings.HasPrefix(a.header.Get("Content-Type"), "application/cloudevents+json") {
		var members map[string]json.RawMessage
		_ = json.Unmarshal(a.body, &members) // it was decoded before
		for name, raw := range members {
			if name == "data" || name == "data_base64" {
				continue
			}
			var text string
			if json.Unmarshal(raw, &text) != nil {
				text = string(raw)
			}
			out[name] = text
		}
		return out
	}
	for name := range a.header {
		if rest, ok := strings.CutPrefix(name, "Ce-"); ok {
			out[strings.ToLower(rest)] = a.header.Get(name)
		}
	}
	if v := a.header.Get("Content-Type"); v != "" {
		out["datacontenttype"] = v
	}
	return out
}
