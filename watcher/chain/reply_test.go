package chain

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// deliver sends one change through a first step that answers with h. It gives
// what arrived at the second, if anything, and the chain's log.
func deliver(t *testing.T, cfg Config, h http.HandlerFunc, i *item) (*event.Event, *lines) {
	t.Helper()
	var arrived *event.Event
	second := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		e := received(t, r)
		arrived = &e
		w.WriteHeader(http.StatusNoContent)
	})
	cfg.Steps = steps(endpoint(t, h), second)
	if cfg.Sink {
		cfg.Steps = cfg.Steps[:1]
	}
	c := start(t, cfg)
	c.push(i)
	c.finish()
	return arrived, c.log
}

// structured is an event in structured mode, with its members changed.
func structured(t *testing.T, e event.Event, change func(members map[string]any)) string {
	out, err := e.ToCloudEvent()
	require.NoError(t, err)
	raw, err := json.Marshal(out)
	require.NoError(t, err)
	var members map[string]any
	require.NoError(t, json.Unmarshal(raw, &members))
	change(members)
	raw, err = json.Marshal(members)
	require.NoError(t, err)
	return string(raw)
}

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const (
	cloudEvents = "application/cloudevents+json"
	jsonType    = "application/json"
)

func TestAReplyThatContinues(t *testing.T) {
	sent := change("web", 1)
	sent.event.Extensions = map[string]string{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "team": "shop"}
	sent.event.Payload = event.TextPayload("text/x-diff", "-a")
	set := func(name string, value any) func(map[string]any) { return func(m map[string]any) { m[name] = value } }
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   func(e *event.Event)
	}{
		"binary": {
			event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) {
				e.Diff = &event.Diff{Summary: "image", Changes: []event.FieldChange{}}
				return &e, nil
			}).ServeHTTP,
			func(e *event.Event) {
				e.Continue, e.Diff = new(true), &event.Diff{Summary: "image", Changes: []event.FieldChange{}}
			},
		},
		"structured": {
			answer(200, cloudEvents+"; charset=utf-8", structured(t, sent.event, set("continue", true))),
			func(e *event.Event) { e.Continue = new(true) },
		},
		"without continue": {answer(200, cloudEvents, structured(t, sent.event, func(map[string]any) {})), nil},
		"status 202":       {answer(202, cloudEvents, structured(t, sent.event, func(map[string]any) {})), nil},
		"an extension is left out, another changed, another added": {
			answer(200, cloudEvents, structured(t, sent.event, func(m map[string]any) {
				delete(m, "team")
				m["traceparent"], m["more"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-ffffffffffffffff-01", 7
			})),
			func(e *event.Event) {
				e.Extensions = maps.Clone(e.Extensions)
				e.Extensions["traceparent"], e.Extensions["more"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-ffffffffffffffff-01", "7"
			},
		},
		"another time": {answer(200, cloudEvents, structured(t, sent.event, set("time", "2001-01-01T00:00:00Z"))), nil},
		"plain with text": {
			answer(200, jsonType, `{"continue":true,"payload":"a\nb <&> ü"}`),
			func(e *event.Event) { e.Payload = event.TextPayload("text/plain; charset=utf-8", "a\nb <&> ü") },
		},
		"plain with an object": {
			answer(200, "", "\n {\"continue\": true, \"payload\": {\"n\":12345678901234567890}, \"other\": 1}\n"),
			func(e *event.Event) {
				e.Payload = &event.Payload{ContentType: jsonType, Data: json.RawMessage(`{"n":12345678901234567890}`)}
			},
		},
		"plain with false": {
			answer(200, jsonType, `{"continue":true,"payload":false}`),
			func(e *event.Event) {
				e.Payload = &event.Payload{ContentType: jsonType, Data: json.RawMessage(`false`)}
			},
		},
		"plain with empty text": {
			answer(200, jsonType, `{"continue":true,"payload":""}`),
			func(e *event.Event) { e.Payload = event.TextPayload("text/plain; charset=utf-8", "") },
		},
		"plain with null":         {answer(200, jsonType, `{"continue":true,"payload":null}`), nil},
		"plain without a payload": {answer(200, jsonType, `{"continue":true}`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			want := sent.event
			if tc.want != nil {
				tc.want(&want)
			}
			got, log := deliver(t, Config{}, tc.answer, sent)
			require.Empty(t, log.with(t, notDelivered))
			require.NotNil(t, got)
			require.JSONEq(t, string(want.Object), string(got.Object)) // a foreign function may escape otherwise
			require.JSONEq(t, string(want.OldObject), string(got.OldObject))
			got.Object, got.OldObject = want.Object, want.OldObject
			require.Equal(t, want, *got)
		})
	}
}

func TestAReplyThatStops(t *testing.T) {
	i := change("web", 1)
	no := structured(t, i.event, func(m map[string]any) { m["continue"] = false })
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		reason string
	}{
		"204": {answer(204, "", ""), ""},
		"204 with a reason": {event.Handler(func(context.Context, event.Event) (*event.Event, error) {
			return nil, event.Stop("nothing left")
		}).ServeHTTP, "nothing left"},
		"200 with an empty body": {answer(200, "", ""), ""},
		"202 with an empty body": {answer(202, jsonType, ""), ""},
		"a long reason": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(event.ReasonHeader, strings.Repeat("x", 5000))
			w.WriteHeader(204)
		}, strings.Repeat("x", 300) + "…"},
		"an event with continue false": {answer(200, cloudEvents, no), "continue is false"},
		"an event with continue false in binary mode": {func(w http.ResponseWriter, r *http.Request) {
			e := i.event
			e.Continue = new(false)
			out, err := e.ToCloudEvent()
			if err == nil {
				err = cehttp.WriteResponseWriter(r.Context(), (*binding.EventMessage)(&out), 200, w)
			}
			if err != nil {
				t.Error(err)
			}
		}, "continue is false"},
		"plain with continue false": {answer(200, jsonType, `{"continue":false,"payload":"x"}`), "continue is false"},
	} {
		t.Run(name, func(t *testing.T) {
			got, log := deliver(t, Config{}, tc.answer, i)
			require.Nil(t, got)
			require.Empty(t, log.with(t, notDelivered))
			stopped := log.with(t, "chain stopped")
			require.Len(t, stopped, 1)
			reason, _ := stopped[0]["reason"].(string) // left out where there is none
			require.Equal(t, tc.reason, reason)
			require.Equal(t, "web.1.update", stopped[0]["id"])
		})
	}
}

func TestAReplyThatBreaksTheContractIsAFailureAndNotRepeated(t *testing.T) {
	i := change("web", 1)
	with := func(name string, value any) http.HandlerFunc {
		return answer(200, cloudEvents, structured(t, i.event, func(m map[string]any) {
			if m[name] = value; value == nil {
				delete(m, name)
			}
		}))
	}
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		reason string
	}{
		"another id":           {with("id", "web.2.update"), "id was changed"},
		"another source":       {with("source", "/clusters/other"), "source was changed"},
		"another subject":      {with("subject", "/api/v1/nodes/n1"), "subject was changed"},
		"another kind":         {with("kind", "Secret"), "kind was changed"},
		"another apiversion":   {with("apiversion", "v1"), "apiversion was changed"},
		"another namespace":    {with("namespace", "other"), "namespace was changed"},
		"no namespace":         {with("namespace", nil), "namespace was changed"},
		"another name":         {with("name", "other"), "name was changed"},
		"another cluster":      {with("cluster", "other"), "cluster was changed"},
		"another via":          {with("via", "relist"), "via was changed"},
		"another partitionkey": {with("partitionkey", "x"), "partitionkey was changed"},
		"another type":         {with("type", "dev.kwatchman.resource.add"), "does not fit action"},
		"another specversion":  {with("specversion", "0.3"), "specversion"},
		"no id":                {with("id", nil), "id"},
		"odd continue":         {with("continue", "perhaps"), "continue"},
		"broken data":          {with("data", "text"), "data"},
		"no data":              {with("data", nil), "data"},
		"a broken CloudEvent":  {answer(200, cloudEvents, `{"specversion":"1.0"`), "CloudEvent"},
		"a batch":              {answer(200, "application/cloudevents-batch+json", `[]`), "CloudEvent"},
		"headers of an event without a body": {func(w http.ResponseWriter, r *http.Request) {
			maps.Copy(w.Header(), r.Header)
			w.Header().Del("Content-Length")
			w.WriteHeader(204)
		}, "contract"},
		"an HTML page":            {answer(200, "text/html", "<html>Login</html>"), "Content-Type text/html"},
		"a text":                  {answer(200, "text/plain", "ok"), "neither a CloudEvent nor JSON"},
		"broken JSON":             {answer(200, jsonType, `{"continue":true`), "neither a CloudEvent nor JSON"},
		"JSON and more":           {answer(200, jsonType, `{"continue":true}{}`), "neither a CloudEvent nor JSON"},
		"JSON without continue":   {answer(200, jsonType, `{"payload":"x"}`), "neither a CloudEvent nor JSON"},
		"JSON with null":          {answer(200, jsonType, `{"continue":null}`), "neither a CloudEvent nor JSON"},
		"JSON with a text":        {answer(200, jsonType, `{"continue":"true"}`), "neither a CloudEvent nor JSON"},
		"JSON that is no object":  {answer(200, jsonType, `true`), "neither a CloudEvent nor JSON"},
		"a list":                  {answer(200, jsonType, `[{"continue":true}]`), "neither a CloudEvent nor JSON"},
		"a body of white space":   {answer(200, jsonType, " \n"), "neither a CloudEvent nor JSON"},
		"a structured odd base64": {with("data_base64", 5), "data_base64"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			got, log := deliver(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
				asked++
				tc.answer(w, r)
			}, i)
			require.Nil(t, got)
			require.Equal(t, 1, asked)
			given := log.with(t, notDelivered)
			require.Len(t, given, 1)
			require.Contains(t, given[0]["error"], tc.reason)
		})
	}
}
