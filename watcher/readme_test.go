package watcher

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/internal/settings"
	"github.com/kwatchman/kwatchman/watcher/config"
)

func TestEverySettingIsInTheREADMEAndInTheHelp(t *testing.T) {
	cfg := config.Default(true)
	names, err := settings.Names(config.Prefix, &cfg)
	require.NoError(t, err)
	require.Greater(t, len(names), 10)
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, help(&text, "watcher", nil))
	for _, n := range names {
		require.Contains(t, string(readme), "`"+n+"`")
		require.Regexp(t, `(?m)^  `+n+`(, -[a-z])? `, text.String())
	}
}
