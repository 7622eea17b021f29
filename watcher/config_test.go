package watcher

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/internal/settings"
)

func TestEverySettingIsInTheREADMEAndInTheHelp(t *testing.T) {
	cfg := DefaultConfig()
	names, err := settings.Names(Prefix, &cfg)
	require.NoError(t, err)
	require.Greater(t, len(names), 10)
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, help(&text))
	for _, n := range names {
		require.Contains(t, string(readme), "`"+n+"`")
		require.Contains(t, text.String(), "  "+n+" ")
	}
}

func TestTheEnvironmentOverlaysTheDefaults(t *testing.T) {
	t.Setenv("KW_HANDLERS", " http://a/ , http://b:1/x?y=z,")
	t.Setenv("KW_RESOURCES", "deploy, cm")
	t.Setenv("KW_QUEUE_BYTES", "1Gi")
	t.Setenv("KW_LOG_LEVEL", "Warning")
	t.Setenv("KW_LABEL_SELECTOR", "app in (a,b),tier!=test")
	t.Setenv("KW_SERVICE_HOST", "10.0.0.1") // of a Service called kw
	cfg := DefaultConfig()
	require.NoError(t, load(&cfg))
	require.NoError(t, cfg.validate())
	require.Equal(t, []string{"http://a/", "http://b:1/x?y=z"}, cfg.Handlers)
	require.Equal(t, []string{"deploy", "cm"}, cfg.Resources)
	require.Equal(t, Bytes(1<<30), cfg.QueueBytes)
	require.Equal(t, "warn", cfg.LogLevel.String())
	require.Equal(t, "app in (a,b),tier!=test", cfg.LabelSelector, "a selector's commas are its own")
	require.Equal(t, 16, cfg.Concurrency)
	require.Equal(t, 15*time.Second, cfg.timeout())
	t.Setenv("K_SINK", "http://sink.example.com")
	require.NoError(t, load(&cfg))
	require.Equal(t, 10*time.Minute, cfg.timeout())
}
