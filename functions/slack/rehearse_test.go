package slack

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

func TestARehearsalPostsNothingAndTellsAll(t *testing.T) {
	s := newStandIn(t, func(http.ResponseWriter, *http.Request) bool {
		t.Error("somebody was asked")
		return false
	})
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"webhook": {Config{WebhookURL: s.url + webhookPath}, "post to the incoming webhook\n{"},
		"token": {
			Config{Token: "xoxb-" + token, Channel: "#team-{{ .Namespace }}", ApiURL: s.url, Threads: true},
			"post to Slack channel #team-shop, in the thread about the object if there is one\n{",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFunction(t, c.cfg)
			said := ""
			e := eventtest.Sample(event.Update)
			got, err := h(event.Rehearse(t.Context(), func(text string) { said += text }), e)
			require.NoError(t, err)
			require.Equal(t, e, *got)
			require.Contains(t, said, c.want)
			require.Contains(t, said, `"text": "UPDATE Deployment shop/web"`)
			for _, secret := range append(secrets(s.url), "xoxb") {
				require.NotContains(t, said, secret)
			}
		})
	}
}

func TestARehearsalTellsOfAChannelThatIsNone(t *testing.T) {
	h := newFunction(t, Config{Token: "xoxb-" + token, Channel: "{{ .Object.metadata.labels.team }}"})
	e := eventtest.Sample(event.Update)
	_, err := h(event.Rehearse(t.Context(), func(string) {}), e)
	require.Error(t, err)
}
