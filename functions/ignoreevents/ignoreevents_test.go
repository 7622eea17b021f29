package ignoreevents_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/functions/ignoreevents"
	"github.com/kwatchman/kwatchman/internal/settings"
)

func TestKeepsTheProtocol(t *testing.T) {
	h, err := ignoreevents.New(ignoreevents.Config{Events: []string{"Delete"}})
	require.NoError(t, err)
	eventtest.Run(t, eventtest.Target{
		Handler: h, Continues: eventtest.Sample(event.Update), Stops: new(eventtest.Sample(event.Delete)),
	})
}

func TestStopsJustTheConfiguredActions(t *testing.T) {
	for setting, stops := range map[string][]event.Action{
		"":                     nil,
		"Add":                  {event.Add},
		"Add,Delete":           {event.Add, event.Delete},
		" update , DELETE":     {event.Update, event.Delete},
		"Add,Add,add":          {event.Add},
		"Add, Update , Delete": {event.Add, event.Update, event.Delete},
	} {
		t.Run(setting, func(t *testing.T) {
			t.Setenv("IGNOREEVENTS_EVENTS", setting)
			var cfg ignoreevents.Config
			require.NoError(t, settings.Load("IGNOREEVENTS", &cfg))
			h, err := ignoreevents.New(cfg)
			require.NoError(t, err)
			for _, action := range []event.Action{event.Add, event.Update, event.Delete} {
				e := eventtest.Sample(action)
				got, err := h(t.Context(), e)
				if slices.Contains(stops, action) {
					require.Nil(t, got)
					require.Equal(t, event.Stop("action "+string(action)+" is ignored"), err)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, e, *got)
			}
		})
	}
}

func TestUnknownActionStopsTheStart(t *testing.T) {
	for _, events := range [][]string{{"Created"}, {"Add", "Created"}, {" Created"}} {
		_, err := ignoreevents.New(ignoreevents.Config{Events: events})
		require.EqualError(t, err, `IGNOREEVENTS_EVENTS: unknown action "Created": want Add, Update or Delete`)
	}
	_, err := ignoreevents.New(ignoreevents.Config{Events: []string{"Add", "", " "}})
	require.NoError(t, err, "a comma too many names no action")
}
