package event_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

func TestActionsAreReadInAnyCaseAndOthersNamed(t *testing.T) {
	for _, in := range []string{"Update", "update", "UPDATE"} {
		got, err := event.ParseAction(in)
		require.NoError(t, err)
		require.Equal(t, event.Update, got)
	}
	_, err := event.ParseAction("Created")
	require.EqualError(t, err, `unknown action "Created": want Add, Update or Delete`)
}

func TestIdentityOfAChangeIsDeterministic(t *testing.T) {
	require.Equal(t, "ab-cd.41388.update", event.NewID("AB-cd", "41388", event.Update))
	require.Equal(t, "/clusters/https:%2F%2F10.0.0.1", event.NewSource("https://10.0.0.1"))
	for _, c := range []struct{ group, namespace, resource, name, want string }{
		{"apps", "shop", "deployments", "web", "/apis/apps/v1/namespaces/shop/deployments/web"},
		{"", "shop", "services", "web", "/api/v1/namespaces/shop/services/web"},
		{"", "", "nodes", "n1", "/api/v1/nodes/n1"},
		{"stable.example.com", "", "crontabs", "a/b\n", "/apis/stable.example.com/v1/crontabs/a%2Fb%0A"},
	} {
		require.Equal(t, c.want, event.NewSubject(c.group, "v1", c.resource, c.namespace, c.name))
	}
}

func TestTitleIsOneLine(t *testing.T) {
	for want, e := range map[string]event.Event{
		"UPDATE Deployment shop/web":               eventtest.Sample(event.Update),
		"ADD ClusterRole view-metrics":             eventtest.SampleClusterScoped(event.Add),
		"DELETE Role shop/line break 100% größe":   eventtest.SampleOddName(event.Delete),
		"ADD Role \x20[31mred\x20 \x20 \x20 \x20x": {Change: event.Change{Action: event.Add}, Kind: "Role", Name: "\x1b[31mred\u2028 \u009b \xff \x7fx"},
	} {
		require.Equal(t, want, e.Title())
	}
}

func TestEventThatLacksSomethingIsNotValid(t *testing.T) {
	for want, spoil := range map[string]func(*event.Event){
		"missing attribute: id":                                       func(e *event.Event) { e.ID = "" },
		"missing attribute: source, subject":                          func(e *event.Event) { e.Source, e.Subject = "", "" },
		"missing attribute: time":                                     func(e *event.Event) { e.Time = time.Time{} },
		"attribute cluster holds a control character":                 func(e *event.Event) { e.Cluster = "a\nb" },
		"attribute myext holds a control character":                   func(e *event.Event) { e.Extensions = map[string]string{"myext": "\u009b"} },
		"missing action in data: want Add, Update or Delete":          func(e *event.Event) { e.Action = "" },
		`unknown action "Rename" in data: want Add, Update or Delete`: func(e *event.Event) { e.Action = "Rename" },
		"data of action Update needs a JSON object in object":         func(e *event.Event) { e.Object = nil },
		"data of action Update needs a JSON object in oldObject":      func(e *event.Event) { e.OldObject = json.RawMessage("null") },
		"data of action Delete needs a JSON object in oldObject":      func(e *event.Event) { e.Action, e.OldObject = event.Delete, nil },
		`unknown action "Rename to a very long name instead of…" in data: want Add, Update or Delete`: func(e *event.Event) {
			e.Action = "Rename to a very long name instead of one of the three"
		},
	} {
		t.Run(want, func(t *testing.T) {
			e := eventtest.Sample(event.Update)
			require.NoError(t, e.Validate())
			spoil(&e)
			require.EqualError(t, e.Validate(), want)
		})
	}
}

func TestPayloadShowsAsText(t *testing.T) {
	for want, p := range map[string]*event.Payload{
		"":                         nil,
		"-a\n+\"b\" <c>\n":         event.TextPayload("text/x-diff", "-a\n+\"b\" <c>\n"),
		`{"a":[1,"x"]}`:            {ContentType: "application/json", Data: json.RawMessage(`{"a":[1,"x"]}`)},
		"(3 bytes of image/png x)": {ContentType: "image/png\nx", DataBase64: []byte{1, 2, 3}},
	} {
		require.Equal(t, want, p.Text())
	}
}
