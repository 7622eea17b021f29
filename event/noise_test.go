package event_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

func TestCleanLeavesWhatPeopleWrote(t *testing.T) {
	const meta = `"managedFields":[{"manager":"a"}],"resourceVersion":"1","generation":2,"uid":"u","creationTimestamp":"t","selfLink":"/s"`
	for name, c := range map[string]struct{ in, want string }{
		"Deployment": {
			`{"kind":"Deployment","metadata":{"name":"web",` + meta + `,"annotations":{"deployment.kubernetes.io/revision":"3","a":"b"}},"spec":{"replicas":1},"status":{"replicas":1}}`,
			`{"kind":"Deployment","metadata":{"name":"web","annotations":{"a":"b"}},"spec":{"replicas":1}}`,
		},
		"ConfigMap": {
			`{"kind":"ConfigMap","metadata":{"name":"c",` + meta + `,"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}},"data":{"status":"kept"}}`,
			`{"kind":"ConfigMap","metadata":{"name":"c"},"data":{"status":"kept"}}`,
		},
		"Role": {
			`{"kind":"Role","metadata":{"name":"r",` + meta + `},"rules":[{"verbs":["get"]}]}`,
			`{"kind":"Role","metadata":{"name":"r"},"rules":[{"verbs":["get"]}]}`,
		},
		"CustomResource": {
			`{"kind":"Odd","metadata":{"annotations":null,` + meta + `},"spec":{"status":{"a":1},"template":{"metadata":{"uid":"kept"}}},"status":"text"}`,
			`{"kind":"Odd","metadata":{"annotations":null},"spec":{"status":{"a":1},"template":{"metadata":{"uid":"kept"}}}}`,
		},
		"checksums": {
			`{"metadata":{"annotations":{"checksum/config":"1","example.com/config-checksum":"2","a":"b"}},"spec":{"template":{"metadata":{"annotations":{"checksum/secret":"3"},"labels":{"a":"b"}}}}}`,
			`{"metadata":{"annotations":{"a":"b"}},"spec":{"template":{"metadata":{"labels":{"a":"b"}}}}}`,
		},
		"leader election": {
			`{"kind":"ConfigMap","metadata":{"name":"c","annotations":{"control-plane.alpha.kubernetes.io/leader":"{}"}}}`,
			`{"kind":"ConfigMap","metadata":{"name":"c"}}`,
		},
		"a lease that is renewed": {
			`{"kind":"Lease","spec":{"holderIdentity":"a","renewTime":"2026-01-01T00:00:00.000000Z"}}`,
			`{"kind":"Lease","spec":{"holderIdentity":"a"}}`,
		},
		"another kind's renewTime": {`{"kind":"Odd","spec":{"renewTime":1}}`, `{"kind":"Odd","spec":{"renewTime":1}}`},
		"empty spec":               {`{"spec":{}}`, `{"spec":{}}`},
		"empty template":           {`{"spec":{"template":{}}}`, `{"spec":{"template":{}}}`},
		"only noise":               {`{"metadata":{` + meta + `},"status":{}}`, `{}`},
		"no object":                {`{"metadata":"text","status":1}`, `{"metadata":"text"}`},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := event.DecodeManifest([]byte(c.in))
			require.NoError(t, err)
			event.Clean(m)
			got, err := json.Marshal(m)
			require.NoError(t, err)
			require.JSONEq(t, c.want, string(got))
			event.Clean(m)
			again, err := json.Marshal(m)
			require.NoError(t, err)
			require.Equal(t, string(got), string(again), "clean twice is clean once")
		})
	}
	event.Clean(nil)
}

func TestUpdateOfNoiseAloneIsClean(t *testing.T) {
	before, err := event.DecodeManifest(eventtest.Sample(event.Update).OldObject)
	require.NoError(t, err)
	after, err := event.DecodeManifest([]byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop",` +
		`"resourceVersion":"99999","labels":{"app":"web"},"annotations":{"deployment.kubernetes.io/revision":"9","team":"checkout & <payments>"}},` +
		`"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},` +
		`"spec":{"containers":[{"name":"web","image":"web:1.4.2","ports":[{"containerPort":8080,"protocol":"TCP"}]}]}}},"status":{"replicas":0}}`))
	require.NoError(t, err)
	event.Clean(before)
	event.Clean(after)
	require.Equal(t, before, after)
}

func TestManifestKeepsItsDigits(t *testing.T) {
	const raw = `{"big":9007199254740993,"float":1.50,"exp":1e400,"neg":-0}`
	m, err := event.DecodeManifest([]byte(raw))
	require.NoError(t, err)
	require.Equal(t, json.Number("9007199254740993"), m["big"])
	out, err := json.Marshal(m)
	require.NoError(t, err)
	require.Equal(t, `{"big":9007199254740993,"exp":1e400,"float":1.50,"neg":-0}`, string(out))
}

func TestManifestThatIsNoneIsAnErrorWithoutItsContent(t *testing.T) {
	for _, raw := range []string{"", "null"} {
		m, err := event.DecodeManifest([]byte(raw))
		require.NoError(t, err)
		require.Nil(t, m)
	}
	for _, raw := range []string{`["s3cr3t"]`, `"s3cr3t"`, `{"a":"s3cr3t"`, `{"s3cr3t`, `s3cr3t`, `{"a":1} {"b":2}`} {
		_, err := event.DecodeManifest([]byte(raw))
		require.ErrorContains(t, err, "decode manifest", raw)
		require.NotContains(t, err.Error(), "s3cr3t")
	}
}
