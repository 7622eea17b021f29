package settings_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/kelseyhightower/envconfig"
	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/internal/settings"
)

// level is a setting that explains itself.
type level string

func (l *level) Decode(value string) error {
	if value != "low" && value != "high" {
		return settings.BadValue("bad value: want low or high")
	}
	*l = level(value)
	return nil
}

type config struct {
	WebhookURL string        `split_words:"true" desc:"where to post"`
	out        io.Writer     // set by tests only
	Skipped    io.Writer     `ignored:"true"`
	Events     []string      `split_words:"true" desc:"what to stop"`
	RetryMax   int           `split_words:"true" desc:"how often"`
	Wait       time.Duration `split_words:"true" desc:"how long"`
	DryRun     bool          `split_words:"true" desc:"whether"`
	Level      level         `split_words:"true" desc:"how loud"`
	Ratio      float64       `split_words:"true" desc:"how much"`
}

func TestEnvironmentOverlaysTheDefaults(t *testing.T) {
	t.Setenv("SLACK_WEBHOOK_URL", "https://example.com/a")
	t.Setenv("SLACK_EVENTS", "Add,Delete")
	t.Setenv("SLACK_WAIT", "")
	t.Setenv("SLACKER_WAIT", "a name of somebody else")
	t.Setenv("WEBHOOK_URL", "a name of somebody else")
	cfg := config{RetryMax: 3, Level: "low", DryRun: true}
	t.Setenv("SLACK_DRY_RUN", "false")
	t.Setenv("SLACK_WAIT", "15s")
	require.NoError(t, settings.Load("SLACK", &cfg))
	require.Equal(t, config{
		WebhookURL: "https://example.com/a", Events: []string{"Add", "Delete"},
		RetryMax: 3, Wait: 15 * time.Second, Level: "low",
	}, cfg)
}

func TestUnknownNameIsRefused(t *testing.T) {
	const names = "SLACK_WEBHOOK_URL, SLACK_EVENTS, SLACK_RETRY_MAX, SLACK_WAIT, SLACK_DRY_RUN, SLACK_LEVEL, SLACK_RATIO"
	for _, name := range []string{"SLACK_WEBHOOK", "SLACK_OUT", "SLACK_SKIPPED", "SLACK_", "SLACK_PORT"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "s3cr3t")
			require.EqualError(t, settings.Load("SLACK", &config{}), "unknown setting "+name+": want "+names)
		})
	}
}

// Kubernetes sets these in every container when the namespace has Services
// called slack and slack-dev.
func TestServiceLinkIsNoSetting(t *testing.T) {
	for name, value := range map[string]string{
		"SLACK_SERVICE_HOST": "10.0.0.7", "SLACK_SERVICE_PORT": "80", "SLACK_SERVICE_PORT_HTTP": "80",
		"SLACK_PORT": "tcp://10.0.0.7:80", "SLACK_PORT_80_TCP": "tcp://10.0.0.7:80", "SLACK_PORT_80_TCP_PROTO": "tcp",
		"SLACK_PORT_80_TCP_PORT": "80", "SLACK_PORT_80_TCP_ADDR": "10.0.0.7", "SLACK_PORT_53_UDP_ADDR": "10.0.0.7",
		"SLACK_DEV_SERVICE_HOST": "10.0.0.8", "SLACK_DEV_PORT": "udp://10.0.0.8:53", "SLACK_DEV_PORT_53_UDP": "udp://10.0.0.8:53",
	} {
		t.Setenv(name, value)
	}
	cfg := config{}
	require.NoError(t, settings.Load("SLACK", &cfg))
	require.Equal(t, config{}, cfg)
}

func TestBadValueIsExplainedAndNeverShown(t *testing.T) {
	const secret = "s3cr3t"
	for name, want := range map[string]string{
		"SLACK_RETRY_MAX": "SLACK_RETRY_MAX: bad value: want a whole number",
		"SLACK_WAIT":      "SLACK_WAIT: bad value: want a duration such as 500ms, 15s or 10m",
		"SLACK_DRY_RUN":   "SLACK_DRY_RUN: bad value: want true or false",
		"SLACK_LEVEL":     "SLACK_LEVEL: bad value: want low or high",
		"SLACK_RATIO":     "SLACK_RATIO: bad value: want float64",
	} {
		for _, value := range []string{secret, "", secret + "\nline"} {
			t.Run(name+" "+value, func(t *testing.T) {
				t.Setenv(name, value)
				err := settings.Load("SLACK", &config{})
				require.EqualError(t, err, want)
				require.NotContains(t, err.Error(), secret)
			})
		}
	}
}

func TestUsageListsEverySettingWithItsDefault(t *testing.T) {
	var b bytes.Buffer
	cfg := config{Events: []string{"Add", "Delete"}, Wait: 15 * time.Second, Level: "low", out: io.Discard, Skipped: io.Discard}
	require.NoError(t, settings.Usage(&b, "SLACK", &cfg))
	require.Equal(t, strings.Join([]string{
		"  SLACK_WEBHOOK_URL  where to post",
		"  SLACK_EVENTS       what to stop (Add,Delete)",
		"  SLACK_RETRY_MAX    how often",
		"  SLACK_WAIT         how long (15s)",
		"  SLACK_DRY_RUN      whether",
		"  SLACK_LEVEL        how loud (low)",
		"  SLACK_RATIO        how much",
		"",
	}, "\n"), b.String())
}

func TestConfigMustBeAPointer(t *testing.T) {
	require.Error(t, settings.Load("SLACK", config{}))
	require.Error(t, settings.Usage(io.Discard, "SLACK", config{}))
}

// With a default tag envconfig writes the default over what a file has set; with
// an envconfig tag it also reads the variable without the prefix, which may be
// somebody else's.
func TestTagsThatGoAroundAFileAreRefused(t *testing.T) {
	for _, cfg := range []any{
		&struct {
			A string `default:"x"`
		}{},
		&struct {
			A string `envconfig:"B"`
		}{},
		&struct {
			A string `required:"true"`
		}{},
	} {
		_, err := settings.Names("X", cfg)
		require.ErrorContains(t, err, "field A has the tag ")
		require.Error(t, settings.Load("X", cfg))
	}
}

// The list of names is our own, the reading is envconfig's.
func TestNamesAreThoseOfEnvconfig(t *testing.T) {
	var cfg struct {
		Events           []string `split_words:"true"`
		WebhookURL       string   `split_words:"true"`
		URL              string   `split_words:"true"`
		ApiURL           string   `split_words:"true"`
		MaxOutput        int      `split_words:"true"`
		HTTPProxyAddress string   `split_words:"true"`
		RetryWaitMin     int      `split_words:"true"`
		Hidden           string   `ignored:"true"`
		X                int      `split_words:"true"`
	}
	var want strings.Builder
	require.NoError(t, envconfig.Usagef("FN", &cfg, &want, "{{range .}}{{usage_key .}}\n{{end}}"))
	names, err := settings.Names("FN", &cfg)
	require.NoError(t, err)
	require.Equal(t, strings.Fields(want.String()), names)
}
