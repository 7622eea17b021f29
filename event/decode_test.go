package event_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

// structured is a valid event in structured mode with members replaced; a nil
// value removes one.
func structured(t testing.TB, members map[string]any) []byte {
	t.Helper()
	e := eventtest.Sample(event.Add)
	out := map[string]any{
		"specversion": "1.0", "id": e.ID, "source": e.Source, "type": e.Type(), "subject": e.Subject,
		"time": "2026-11-22T10:30:01.5+01:00", "datacontenttype": "application/json", "cluster": e.Cluster,
		"apiversion": e.APIVersion, "kind": e.Kind, "namespace": e.Namespace, "name": e.Name,
		"partitionkey": e.PartitionKey, "via": e.Via, "data": e.Change,
	}
	maps.Copy(out, members)
	for name, value := range members {
		if value == nil {
			delete(out, name)
		}
	}
	raw, err := json.Marshal(out)
	require.NoError(t, err)
	return raw
}

func structuredHeader() http.Header {
	return http.Header{"Content-Type": {"application/cloudevents+json"}}
}

func TestStructuredModeIsRead(t *testing.T) {
	data, err := json.Marshal(eventtest.Sample(event.Add).Change)
	require.NoError(t, err)
	for name, body := range map[string][]byte{
		"data as JSON":     structured(t, nil),
		"data as bytes":    structured(t, map[string]any{"data": nil, "data_base64": data}),
		"an unset member":  structured(t, map[string]any{"dataschema": json.RawMessage("null")}),
		"numbers as value": structured(t, map[string]any{"sequence": 7, "flagged": true}),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := event.Decode(structuredHeader(), body)
			require.NoError(t, err)
			want := eventtest.Sample(event.Add)
			require.True(t, want.Time.Equal(got.Time))
			require.Equal(t, want.ID, got.ID)
			require.JSONEq(t, string(want.Object), string(got.Object))
			if name == "numbers as value" {
				require.Equal(t, map[string]string{"sequence": "7", "flagged": "true"}, got.Extensions)
			}
		})
	}
}

func TestBadEventIsRefusedInClearWords(t *testing.T) {
	change := func(edit func(map[string]any)) []byte {
		var data map[string]any
		raw, err := json.Marshal(eventtest.Sample(event.Add).Change)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(raw, &data))
		edit(data)
		return structured(t, map[string]any{"data": data})
	}
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"no event at all":    {[]byte(`{}`), "not a valid CloudEvent: no specversion"},
		"broken":             {[]byte(`{"id":`), "not a valid CloudEvent: syntax error at byte 6"},
		"a list":             {[]byte(`[]`), "not a valid CloudEvent: array where an object is wanted"},
		"another version":    {structured(t, map[string]any{"specversion": "2.0"}), `specversion "2.0" is not supported: want 1.0`},
		"two missing":        {structured(t, map[string]any{"kind": nil, "via": nil}), "missing attribute: kind, via"},
		"id is a list":       {structured(t, map[string]any{"id": []int{1}}), "not a valid CloudEvent: attribute id is no string, boolean or 32-bit integer"},
		"a broken name":      {structured(t, map[string]any{"my-ext": "a"}), `not a valid CloudEvent: attribute name "my-ext": want lower-case letters and digits`},
		"a control letter":   {structured(t, map[string]any{"kind": "Deploy\x1b[31mment"}), "attribute kind holds a control character"},
		"a list as an ext":   {structured(t, map[string]any{"myext": []int{1}}), "not a valid CloudEvent: attribute myext is no string, boolean or 32-bit integer"},
		"bytes as a number":  {structured(t, map[string]any{"data": nil, "data_base64": 1}), "not a valid CloudEvent: data_base64 is not base64 in a string"},
		"bytes not base64":   {structured(t, map[string]any{"data": nil, "data_base64": "%"}), "not a valid CloudEvent: data_base64 is not base64 in a string"},
		"no data":            {structured(t, map[string]any{"data": nil}), "data is not the JSON of a change: syntax error at byte 0"},
		"data is text":       {structured(t, map[string]any{"data": "s3cr3t"}), "data is not the JSON of a change: string where an object is wanted"},
		"no content type":    {structured(t, map[string]any{"datacontenttype": nil}), `datacontenttype "" is not supported: want application/json`},
		"action is a number": {change(func(m map[string]any) { m["action"] = 12345 }), "data is not the JSON of a change: action: number where a string is wanted"},
		"action is missing":  {change(func(m map[string]any) { delete(m, "action") }), "missing action in data: want Add, Update or Delete"},
		"an unknown action":  {change(func(m map[string]any) { m["action"] = "Rename" }), `unknown action "Rename" in data: want Add, Update or Delete`},
		"no manifest":        {change(func(m map[string]any) { delete(m, "object") }), "data of action Add needs a JSON object in object"},
		"payload is text":    {change(func(m map[string]any) { m["payload"] = "s3cr3t" }), "data is not the JSON of a change: payload: string where an object is wanted"},
		"payload is odd": {
			change(func(m map[string]any) { m["payload"] = map[string]any{"contentType": 1} }),
			"data is not the JSON of a change: payload: contentType: number where a string is wanted",
		},
		"diff is odd": {
			change(func(m map[string]any) { m["diff"] = map[string]any{"changes": map[string]any{}} }),
			"data is not the JSON of a change: diff: changes: object where a list is wanted",
		},
		"another action": {
			change(func(m map[string]any) { m["action"], m["oldObject"] = "Update", m["object"] }),
			`type "dev.kwatchman.resource.add" does not fit action Update: want dev.kwatchman.resource.update`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := event.Decode(structuredHeader(), c.body)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestMessageWithoutEventIsToldApart(t *testing.T) {
	for _, contentType := range []string{"", "application/json", "text/html", "application/cloudevents-batch+json"} {
		_, err := event.Decode(http.Header{"Content-Type": {contentType}}, []byte(`{"continue":true}`))
		require.ErrorIs(t, err, event.ErrNoCloudEvent, contentType)
	}
	require.False(t, event.IsCloudEvent(http.Header{"Content-Type": {"application/json"}}))
	require.True(t, event.IsCloudEvent(http.Header{"Ce-Specversion": {"1.0"}}))
	require.True(t, event.IsCloudEvent(structuredHeader()))
}

// A member in another case is another member: it neither replaces the known
// one nor gets lost.
func TestMembersOfDataAreKnownByTheirExactNames(t *testing.T) {
	body := `{"action":"Add","Action":"Delete","object":{},"OBJECT":{"a":1},"changedBy":null}`
	var c event.Change
	require.NoError(t, json.Unmarshal([]byte(body), &c))
	require.Equal(t, event.Add, c.Action)
	require.JSONEq(t, `{}`, string(c.Object))
	out, err := json.Marshal(c)
	require.NoError(t, err)
	require.JSONEq(t, `{"action":"Add","Action":"Delete","object":{},"OBJECT":{"a":1},"changedBy":[]}`, string(out))
}

func TestNumbersOfADiffKeepTheirDigits(t *testing.T) {
	const body = `{"action":"Update","changedBy":[],"diff":{"summary":"s","changes":[` +
		`{"op":"replace","path":"/a","from":9007199254740993,"to":{"b":[1.50]}}]}}`
	var c event.Change
	require.NoError(t, json.Unmarshal([]byte(body), &c))
	out, err := json.Marshal(c)
	require.NoError(t, err)
	require.Equal(t, body, string(out)) //nolint:testifylint // JSONEq would round the numbers on both sides
}

// Whatever arrives, Decode neither panics nor accepts an event that cannot go
// on, and what it accepts arrives the same at the next function.
func FuzzDecode(f *testing.F) {
	for _, action := range []event.Action{event.Add, event.Update, event.Delete} {
		e := eventtest.SampleOddName(action)
		r, err := event.NewRequest(f.Context(), "http://127.0.0.1", &e)
		require.NoError(f, err)
		body, err := io.ReadAll(r.Body)
		require.NoError(f, err)
		f.Add(false, "web", body)
	}
	f.Add(true, "", structured(f, nil))
	f.Add(true, "", []byte(`{"specversion":"1.0","data_base64":1}`))
	f.Add(true, "", structured(f, map[string]any{"a": "b", "sequence": 1, "data_base64": "e30="}))
	f.Fuzz(func(t *testing.T, inJSON bool, name string, body []byte) {
		header := structuredHeader()
		if !inJSON {
			e := eventtest.Sample(event.Update)
			r, err := event.NewRequest(t.Context(), "http://127.0.0.1", &e)
			require.NoError(t, err)
			header = r.Header
			header.Set("Ce-Name", name)
		}
		first, err := event.Decode(header, body)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		require.NoError(t, first.Validate())
		r, err := event.NewRequest(t.Context(), "http://127.0.0.1", &first)
		require.NoError(t, err)
		sent, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		second, err := event.Decode(r.Header, sent)
		require.NoError(t, err)
		require.True(t, first.Time.Equal(second.Time))
		require.Equal(t, first.Name, second.Name)
		require.Equal(t, first.Extensions, second.Extensions)
		again, err := event.NewRequest(t.Context(), "http://127.0.0.1", &second)
		require.NoError(t, err)
		resent, err := io.ReadAll(again.Body)
		require.NoError(t, err)
		require.Equal(t, string(sent), string(resent))
	})
}
