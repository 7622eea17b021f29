package eventtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

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
	e.Extensions = maps.Clone(e.Extensions)
	if e.Extensions == nil {
		e.Extensions = map[string]string{}
	}
	e.Extensions["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	e.Extensions["tracestate"] = "vendor=t61rcWkgMzE"
	e.Extensions["myext"] = "kept as it is"
	e.Extra = maps.Clone(e.Extra)
	if e.Extra == nil {
		e.Extra = map[string]json.RawMessage{}
	}
	e.Extra["ticket"] = json.RawMessage(`{"id":12345678901234567890,"tags":["<a>",null]}`)
	return e
}

func keepsContext(t *testing.T, s *suite) {
	for _, flag := range []*bool{nil, new(true)} {
		e := foreign(s.Continues)
		e.Continue = flag
		for mode, m := range map[string]message{"binary": binary(t, e), "structured": structured(t, e)} {
			t.Run(fmt.Sprintf("%s with continue %v", mode, flag != nil), func(t *testing.T) {
				requireContinues(t, e, s.send(t, m))
			})
		}
	}
}

// requireContinues checks that got lets e continue and holds what every
// function keeps of it.
func requireContinues(t *testing.T, e event.Event, got answer) {
	t.Helper()
	require.Equal(t, http.StatusOK, got.status, "%s", got.body)
	want, have := attributes(e), got.attributes()
	want["continue"] = "true"
	sent, err := time.Parse(time.RFC3339Nano, want["time"])
	require.NoError(t, err)
	answered, err := time.Parse(time.RFC3339Nano, have["time"])
	require.NoError(t, err, "ce-time of the answer")
	require.True(t, sent.Equal(answered), "ce-time: sent %s, answered %s", sent, answered)
	delete(want, "time") // any spelling of the same instant will do
	delete(have, "time")
	require.Equal(t, want, have, "attributes of the answer")

	var members map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(got.body, &members), "the data of an answer is a JSON object")
	require.JSONEq(t, `"`+string(e.Action)+`"`, string(members["action"]), "action")
	for name, value := range e.Extra {
		require.Equal(t, digits(t, value), digits(t, members[name]), "member %s of data", name)
	}
	var change event.Change
	require.NoError(t, json.Unmarshal(got.body, &change), "the data of an answer is a change")
}

// digits decodes JSON with its numbers kept digit by digit.
func digits(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	require.NoError(t, dec.Decode(&v))
	return v
}

// takesAnyObject cannot know whether the function lets these continue; that it
// handles them is what counts.
func takesAnyObject(t *testing.T, s *suite) {
	samples := map[string]func(event.Action) event.Event{
		"namespaced": Sample, "cluster-scoped": SampleClusterScoped, "odd name": SampleOddName,
	}
	for name, sample := range samples {
		for _, action := range []event.Action{event.Add, event.Update, event.Delete} {
			t.Run(name+" "+string(action), func(t *testing.T) {
				e := foreign(sample(action))
				got := s.send(t, binary(t, e))
				if got.status == http.StatusNoContent {
					requireStops(t, got)
					return
				}
				requireContinues(t, e, got)
			})
		}
	}
}

func stopsWithReason(t *testing.T, s *suite) {
	if s.Stops == nil {
		t.Skip("this function never stops")
	}
	e := foreign(*s.Stops)
	requireStops(t, s.send(t, binary(t, e)))
	requireStops(t, s.send(t, structured(t, e)))
}

func requireStops(t *testing.T, got answer) {
	t.Helper()
	require.Equal(t, http.StatusNoContent, got.status, "%s", got.body)
	require.Empty(t, got.body, "a stop has no body")
	require.Empty(t, got.attributes(), "a stop is no CloudEvent and has no content type")
	reason := got.header.Get("Kwatchman-Reason")
	require.NotEmpty(t, strings.TrimSpace(reason), "Kwatchman-Reason")
	require.LessOrEqual(t, len(reason), maxErrorBody, "Kwatchman-Reason")
}

func stopsOnContinueFalse(t *testing.T, s *suite) {
	e := foreign(s.Continues)
	e.Continue = new(false)
	requireStops(t, s.send(t, binary(t, e)))
	requireStops(t, s.send(t, structured(t, e)))
}

func serves32Clients(t *testing.T, s *suite) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range clients {
		e := foreign(s.Continues)
		e.ID = fmt.Sprintf("00000000-0000-4000-8000-%012d.%d.%s", i, i, strings.ToLower(string(e.Action)))
		e.Name = fmt.Sprintf("%s-%d", e.Name, i)
		e.Subject += fmt.Sprint("-", i)
		e.PartitionKey = e.Subject
		e.Extra["serial"] = json.RawMessage(fmt.Sprint(i))
		wg.Go(func() {
			<-start
			t.Run(fmt.Sprintf("client %d", i), func(t *testing.T) {
				requireContinues(t, e, s.send(t, binary(t, e)))
			})
		})
	}
	close(start)
	wg.Wait()
}
