package eventtest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

const (
	clients       = 32
	clientTimeout = time.Minute
)

// message is an event on the wire, which a test may spoil before it is sent.
type message struct {
	method string
	header http.Header
	body   []byte
}

// answer is what came back, the body read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// binary is e in binary mode. Its headers are written by hand, not by the
// encoder that the suite helps to test.
func binary(t *testing.T, e event.Event) message {
	t.Helper()
	header := http.Header{}
	for name, value := range attributes(e) {
		if name == "datacontenttype" {
			header.Set("Content-Type", value)
		} else {
			header.Set("Ce-"+name, value)
		}
	}
	return message{method: http.MethodPost, header: header, body: data(t, e)}
}

// structured is e in structured mode.
func structured(t *testing.T, e event.Event) message {
	t.Helper()
	members := map[string]any{"data": json.RawMessage(data(t, e))}
	for name, value := range attributes(e) {
		members[name] = value
	}
	body, err := json.Marshal(members)
	require.NoError(t, err)
	return message{
		method: http.MethodPost,
		header: http.Header{"Content-Type": {"application/cloudevents+json; charset=utf-8"}},
		body:   body,
	}
}

// data is the data of e as JSON.
func data(t *testing.T, e event.Event) []byte {
	t.Helper()
	raw, err := json.Marshal(e.Change)
	require.NoError(t, err)
	return raw
}

// edit changes the members of the JSON object in the body: the data in
// binary mode, the whole event in structured mode.
func (m message) edit(t *testing.T, edit func(map[string]any)) message {
	t.Helper()
	var members map[string]any
	require.NoError(t, json.Unmarshal(m.body, &members))
	edit(members)
	body, err := json.Marshal(members)
	require.NoError(t, err)
	m.body = body
	return m
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

// send posts m and writes the answer down for the check of the secrets.
func (s *suite) send(t *testing.T, m message) answer {
	t.Helper()
	return s.sendBody(t, m, bytes.NewReader(m.body))
}

func (s *suite) sendBody(t *testing.T, m message, body io.Reader) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), m.method, s.url, body)
	require.NoError(t, err)
	maps.Copy(r.Header, m.header)
	resp, err := s.client.Do(r)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	head, err := httputil.DumpResponse(resp, false)
	require.NoError(t, err)
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_, _ = s.seen.Write(append(append(head, content...), '\n'))
	return answer{status: resp.StatusCode, header: resp.Header, body: content}
}

// attributes are those of the answer by their CloudEvents names.
func (a answer) attributes() map[string]string {
	out := map[string]string{}
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
