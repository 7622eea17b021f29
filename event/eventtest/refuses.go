package eventtest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// The numbers of the contract, repeated here because a change of one in package
// event is a change of the contract.
const (
	maxBody      = 8 << 20 // bytes
	maxErrorBody = 768     // bytes
)

// requireRefused checks a refusal: the status, and one clear line of text.
func requireRefused(t *testing.T, status int, got answer) {
	t.Helper()
	require.Equal(t, status, got.status, "%s", got.body)
	require.LessOrEqual(t, len(got.body), maxErrorBody, "an error body")
	text, ended := strings.CutSuffix(string(got.body), "\n")
	require.True(t, ended, "the line ends: %q", got.body)
	require.NotEmpty(t, strings.TrimSpace(text), "the error says what is wrong")
	require.NotContains(t, text, "\n", "the error is one line")
	require.Contains(t, got.header.Get("Content-Type"), "text/plain")
	for name := range got.header {
		require.False(t, strings.HasPrefix(name, "Ce-"), "a refusal is no CloudEvent: %s", name)
	}
}

func refusesMissingAttribute(t *testing.T, s *suite) {
	e := foreign(s.Continues)
	optional := []string{"namespace", "traceparent", "tracestate", "myext", "continue"}
	for _, name := range slices.Sorted(maps.Keys(attributes(e))) {
		if slices.Contains(optional, name) {
			continue
		}
		t.Run(name+" in binary mode", func(t *testing.T) {
			header := "Ce-" + name
			if name == "datacontenttype" {
				header = "Content-Type"
			}
			got := s.send(t, binary(t, e).with(header, ""))
			requireRefused(t, http.StatusBadRequest, got)
			requireNames(t, name, got)
		})
		t.Run(name+" in structured mode", func(t *testing.T) {
			m := structured(t, e).edit(t, func(members map[string]any) { delete(members, name) })
			got := s.send(t, m)
			requireRefused(t, http.StatusBadRequest, got)
			requireNames(t, name, got)
		})
	}
}

// requireNames checks that a refusal names the attribute. A message without a
// specversion may just be called no CloudEvent.
func requireNames(t *testing.T, attribute string, got answer) {
	t.Helper()
	if attribute == "specversion" && strings.Contains(string(got.body), "CloudEvent") {
		return
	}
	require.Contains(t, string(got.body), attribute)
}

func refusesBadEvents(t *testing.T, s *suite) {
	e := foreign(s.Continues)
	good, inJSON := binary(t, e), structured(t, e)
	data := func(edit func(map[string]any)) message { return good.edit(t, edit) }
	set := func(name string, value any) message {
		return data(func(members map[string]any) { members[name] = value })
	}
	huge := strings.Repeat("x", 20<<10)
	for promise, m := range map[string]message{
		"an empty body":                      {http.MethodPost, good.header, nil},
		"broken JSON":                        {http.MethodPost, good.header, good.body[:len(good.body)-2]},
		"broken JSON in structured mode":     {http.MethodPost, inJSON.header, inJSON.body[:len(inJSON.body)-2]},
		"no JSON in structured mode":         {http.MethodPost, inJSON.header, []byte("hello")},
		"two JSON values":                    {http.MethodPost, good.header, append(bytes.Clone(good.body), "{}"...)},
		"null as data":                       {http.MethodPost, good.header, []byte("null")},
		"a list as data":                     {http.MethodPost, good.header, []byte("[]")},
		"a list of events":                   inJSON.with("Content-Type", "application/cloudevents-batch+json"),
		"text as content type":               good.with("Content-Type", "text/plain"),
		"XML as content type":                good.with("Content-Type", "application/xml"),
		"XML in structured mode":             inJSON.with("Content-Type", "application/cloudevents+xml"),
		"plain JSON that is no CloudEvent":   {http.MethodPost, http.Header{"Content-Type": {"application/json"}}, good.body},
		"a form":                             {http.MethodPost, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte("a=b")},
		"a specversion of the future":        good.with("Ce-Specversion", "9.0"),
		"no action":                          data(func(members map[string]any) { delete(members, "action") }),
		"an unknown action":                  set("action", "Rename").with("Ce-Type", "dev.kwatchman.resource.rename"),
		"an action in another case":          set("action", strings.ToUpper(string(e.Action))),
		"a number as action":                 set("action", 1),
		"a type that does not fit":           good.with("Ce-Type", otherType(e)),
		"a type of somebody else":            good.with("Ce-Type", "com.example.object.add"),
		"no manifest":                        data(func(members map[string]any) { delete(members, "object"); delete(members, "oldObject") }),
		"a manifest that is no object":       data(func(members map[string]any) { members["object"], members["oldObject"] = 1, 2 }),
		"a time that is none":                good.with("Ce-Time", "yesterday"),
		"a continue that is no flag":         good.with("Ce-Continue", "perhaps"),
		"a name that is not path-escaped":    good.with("Ce-Name", "100%"),
		"a source that is no URI":            good.with("Ce-Source", "http://[::1"),
		"a line break in an attribute":       inStructured(t, inJSON, "myext", "a\r\nSet-Cookie: b"),
		"an object as extension":             inStructured(t, inJSON, "myext", map[string]any{"a": 1}),
		"a huge type":                        good.with("Ce-Type", huge),
		"a huge time":                        good.with("Ce-Time", huge),
		"a huge source":                      good.with("Ce-Source", "http://[::1"+huge),
		"a huge continue":                    good.with("Ce-Continue", huge),
		"a huge content type":                good.with("Content-Type", huge),
		"a huge action":                      set("action", strings.Repeat("ü\n", 50<<10)),
		"a huge payload of the wrong form":   set("payload", strings.Repeat("x", 50<<10)),
		"a huge time in structured mode":     inStructured(t, inJSON, "time", huge),
		"a huge wrong member of the context": inStructured(t, inJSON, "id", []string{huge}),
	} {
		t.Run(promise, func(t *testing.T) { requireRefused(t, http.StatusBadRequest, s.send(t, m)) })
	}
}

func otherType(e event.Event) string {
	if e.Action == event.Delete {
		return "dev.kwatchman.resource.add"
	}
	return "dev.kwatchman.resource.delete"
}

// inStructured sets a member of the context of a message in structured mode.
func inStructured(t *testing.T, m message, name string, value any) message {
	t.Helper()
	return m.edit(t, func(members map[string]any) { members[name] = value })
}

func refusesOtherMethods(t *testing.T, s *suite) {
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		t.Run(method, func(t *testing.T) {
			m := binary(t, s.Continues)
			m.method = method
			got := s.send(t, m)
			requireRefused(t, http.StatusMethodNotAllowed, got)
			require.Equal(t, http.MethodPost, got.header.Get("Allow"))
		})
	}
}

func refusesLargeBody(t *testing.T, s *suite) {
	m := binary(t, s.Continues)
	full := bytes.Repeat([]byte("x"), maxBody)
	t.Run("announced", func(t *testing.T) {
		got := s.sendBody(t, m, bytes.NewReader(append(bytes.Clone(full), 'x')))
		requireRefused(t, http.StatusRequestEntityTooLarge, got)
	})
	t.Run("in chunks", func(t *testing.T) {
		// The client cannot tell the length of two readers, so it sends chunks.
		body := io.MultiReader(bytes.NewReader(full), strings.NewReader("x"))
		requireRefused(t, http.StatusRequestEntityTooLarge, s.sendBody(t, m, body))
	})
	t.Run("just within it", func(t *testing.T) {
		e := foreign(s.Continues)
		e.Extra["padding"] = json.RawMessage(`""`)
		m := binary(t, e)
		gap := maxBody - len(m.body)
		m.body = bytes.Replace(m.body, []byte(`"padding":""`), []byte(`"padding":"`+strings.Repeat("x", gap)+`"`), 1)
		require.Len(t, m.body, maxBody)
		got := s.send(t, m)
		require.NotEqual(t, http.StatusRequestEntityTooLarge, got.status, "%.200s", got.body)
		require.NotEqual(t, http.StatusBadRequest, got.status, "%.200s", got.body)
	})
}
