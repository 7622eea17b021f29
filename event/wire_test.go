package event_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

// roundTrip sends e over HTTP in binary mode and returns what arrives.
func roundTrip(t *testing.T, e event.Event) (got event.Event, header http.Header) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, err := io.ReadAll(r.Body)
		if err == nil {
			got, err = event.Decode(r.Header, body)
		}
		if err != nil {
			t.Errorf("decode: %v", err)
		}
	}))
	defer server.Close()
	r, err := event.NewRequest(t.Context(), server.URL, &e)
	require.NoError(t, err)
	resp, err := server.Client().Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return got, header
}

func TestEventArrivesAsItWasSent(t *testing.T) {
	full := eventtest.Sample(event.Update)
	full.Continue = new(true)
	full.Via = event.ViaRelist
	full.Extensions = map[string]string{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "myext": "1"}
	full.Diff = &event.Diff{Summary: "image changed", Omitted: 3, Patch: json.RawMessage(`{"a":null}`), Changes: []event.FieldChange{
		{Op: "add", Path: "/metadata/labels/a", To: "b"},
		{Op: "replace", Path: "/spec/paused", From: true, To: false},
		{Op: "replace", Path: "/spec/big", From: json.Number("9007199254740993"), To: json.Number("1.50")},
	}}
	full.Payload = event.TextPayload("text/x-diff; charset=utf-8", "-a\n+<b> & ü\n")
	full.Extra = map[string]json.RawMessage{"ticket": json.RawMessage(`{"id":12345678901234567890}`)}
	events := map[string]event.Event{"with everything": full}
	for _, action := range []event.Action{event.Add, event.Update, event.Delete} {
		events["Deployment "+string(action)] = eventtest.Sample(action)
		events["ClusterRole "+string(action)] = eventtest.SampleClusterScoped(action)
		events["Role "+string(action)] = eventtest.SampleOddName(action)
	}
	for name, e := range events {
		t.Run(name, func(t *testing.T) {
			got, _ := roundTrip(t, e)
			require.True(t, e.Time.Equal(got.Time))
			got.Time = e.Time // one instant, perhaps in another location
			require.Equal(t, e, got)
		})
	}
}

func TestAnyNameTravelsInAHeader(t *testing.T) {
	for _, name := range []string{
		"web", "system:node-proxier", "line\nbreak", "tab\t", "größe", "日本語", "😀", "100%", "%2F", "a b", " ", "..",
		"a?b#c", `"quoted"`, "a,b;c=d", "\x00\x1b[31m", "\u2028", strings.Repeat("ü", 253),
	} {
		t.Run(fmt.Sprintf("%.20q", name), func(t *testing.T) {
			e := eventtest.Sample(event.Update)
			e.Name = name
			e.Subject = event.NewSubject("rbac.authorization.k8s.io", "v1", "roles", "shop", name)
			e.PartitionKey = e.Subject
			got, header := roundTrip(t, e)
			require.Equal(t, name, got.Name)
			require.Equal(t, e.Subject, got.Subject)
			for _, attribute := range []string{"Ce-Name", "Ce-Subject", "Ce-Partitionkey"} {
				require.NotContains(t, strings.Trim(header.Get(attribute), "/"), "\n")
				for _, r := range header.Get(attribute) {
					require.Less(t, r, rune(0x7f), "%s is ASCII", attribute)
				}
			}
		})
	}
}

func TestEventTravelsInTheHeadersOfTheContract(t *testing.T) {
	_, header := roundTrip(t, eventtest.SampleOddName(event.Update))
	subject := "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles/line%0Abreak%20100%25%20gr%C3%B6%C3%9Fe"
	for name, want := range map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": "c2b1d7f4-90b3-4a6c-8f5e-3b7e5c1d9a33.502.update",
		"Ce-Source": "/clusters/prod-eu", "Ce-Type": "dev.kwatchman.resource.update", "Ce-Subject": subject,
		"Ce-Time": "2026-11-22T09:30:01.5Z", "Content-Type": "application/json", "Ce-Cluster": "prod-eu",
		"Ce-Apiversion": "rbac.authorization.k8s.io/v1", "Ce-Kind": "Role", "Ce-Namespace": "shop",
		"Ce-Name": "line%0Abreak%20100%25%20gr%C3%B6%C3%9Fe", "Ce-Partitionkey": subject, "Ce-Via": "watch", "Ce-Continue": "",
	} {
		require.Equal(t, want, header.Get(name), name)
	}
	_, header = roundTrip(t, eventtest.SampleClusterScoped(event.Add))
	require.NotContains(t, header, "Ce-Namespace", "a cluster-scoped object has no namespace")
}

func TestBytesThatAreNoTextSurvive(t *testing.T) {
	e := eventtest.Sample(event.Add)
	e.Payload = &event.Payload{ContentType: "image/png", DataBase64: []byte{0x89, 'P', 'N', 'G', 0, 0xff}}
	got, _ := roundTrip(t, e)
	require.Equal(t, e.Payload, got.Payload)
}

func TestEventThatCannotBeEncodedIsAnError(t *testing.T) {
	e := eventtest.Sample(event.Add)
	e.Payload = &event.Payload{ContentType: "application/json", Data: json.RawMessage("{broken")}
	_, err := event.NewRequest(t.Context(), "http://127.0.0.1", &e)
	require.ErrorContains(t, err, "encode data")

	e = eventtest.Sample(event.Add)
	e.ID = ""
	_, err = event.NewRequest(t.Context(), "http://127.0.0.1", &e)
	require.ErrorContains(t, err, "encode event")

	e = eventtest.Sample(event.Update)
	e.Diff = &event.Diff{Changes: []event.FieldChange{{Op: "add", Path: "/a", To: math.Inf(1)}}}
	_, err = event.NewRequest(t.Context(), "http://127.0.0.1", &e)
	require.ErrorContains(t, err, "encode data")
}
