package settings_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/internal/settings"
)

func TestAFilesKeysAreTheFieldsInCamelCase(t *testing.T) {
	require.Equal(t, []string{"webhookURL", "events", "retryMax", "wait", "dryRun", "level", "ratio"}, settings.Keys(&config{}))
	var acronym struct{ URL, CACerts, ID string }
	require.Equal(t, []string{"url", "caCerts", "id"}, settings.Keys(&acronym))
}

func TestAFilesValuesAreSetByTheirTypes(t *testing.T) {
	cfg := config{RetryMax: 3, Level: "low"}
	require.NoError(t, settings.Apply(&cfg, map[string]any{
		"webhookurl": "https://example.com/a", "EVENTS": []any{"Add", "Delete"}, "retryMax": int64(5),
		"wait": "15s", "dryRun": true, "level": "high", "ratio": 0.5,
	}))
	require.Equal(t, config{
		WebhookURL: "https://example.com/a", Events: []string{"Add", "Delete"}, RetryMax: 5,
		Wait: 15 * time.Second, DryRun: true, Level: "high", Ratio: 0.5,
	}, cfg)
	require.NoError(t, settings.Apply(&cfg, map[string]any{"events": "Add,Update", "ratio": 2}))
	require.Equal(t, []string{"Add", "Update"}, cfg.Events)
	require.InEpsilon(t, 2, cfg.Ratio, 0.001)
}

func TestAWrongKeyOrValueIsExplainedAndNeverShown(t *testing.T) {
	const secret = "s3cr3t"
	for _, tt := range []struct {
		key   string
		value any
		want  string
	}{
		{"webhook", secret, `unknown key "webhook": want webhookURL, events, retryMax, wait, dryRun, level, ratio`},
		{"webhookurls", secret, `unknown key "webhookurls": did you mean webhookURL?`},
		{"out", secret, `unknown key "out": want webhookURL, events, retryMax, wait, dryRun, level, ratio`},
		{"skipped", secret, `unknown key "skipped": want webhookURL, events, retryMax, wait, dryRun, level, ratio`},
		{"webhookURL", 5, "webhookURL: bad value: want a string, in quotes"},
		{"webhookURL", nil, "webhookURL: bad value: want a string, in quotes"},
		{"events", []any{secret, 1}, "events: bad value: want a list of strings"},
		{"events", map[string]any{secret: secret}, "events: bad value: want a list of strings"},
		{"events", nil, "events: bad value: want a list of strings"},
		{"retryMax", secret, "retryMax: bad value: want a whole number"},
		{"retryMax", 1.5, "retryMax: bad value: want a whole number"},
		{"wait", secret, `wait: bad value: want a duration such as "500ms", "15s" or "10m", in quotes`},
		{"wait", 15, `wait: bad value: want a duration such as "500ms", "15s" or "10m", in quotes`},
		{"dryRun", secret, "dryRun: bad value: want true or false"},
		{"level", secret, "level: bad value: want low or high"},
		{"level", []any{secret}, "level: bad value: want a word"},
		{"ratio", secret, "ratio: bad value: want a number"},
	} {
		err := settings.Apply(&config{}, map[string]any{tt.key: tt.value})
		require.EqualError(t, err, tt.want)
		require.NotContains(t, err.Error(), secret)
	}
}
