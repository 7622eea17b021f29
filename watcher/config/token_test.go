package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhereATokenGoesInTheClearIsSaidOnce(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("KW_TOKEN_FILE", "token")
	for handlers, note := range map[string]string{
		"log,https://a/s3cr3t,http://localhost:1,http://127.0.0.2:1,http://[::1]:2": "",
		"http://a:1/s3cr3t,http://a:1/t,http://b,https://c":                         "KW_TOKEN_FILE: the token goes in the clear, unless the network encrypts it, to a:1, b",
	} {
		t.Setenv("KW_HANDLERS", handlers)
		cfg, err := load(t)
		require.NoError(t, err)
		if note == "" {
			require.Empty(t, cfg.Notes)
			continue
		}
		require.Equal(t, []string{note}, cfg.Notes)
	}
	t.Setenv("K_SINK", "http://broker/default")
	t.Setenv("KW_DEAD_LETTER", "http://letters/")
	cfg, err := load(t)
	require.NoError(t, err)
	require.Len(t, cfg.Notes, 1)
	require.Contains(t, cfg.Notes[0], "to letters, broker")
}

func TestAURLWithAUserLeavesNoPlaceForAToken(t *testing.T) {
	t.Chdir(t.TempDir())
	for setting, value := range map[string]string{
		"KW_HANDLERS": "log,https://robot:s3cr3t@a", "KW_DEAD_LETTER": "https://robot:s3cr3t@a", "K_SINK": "https://robot:s3cr3t@a",
	} {
		t.Run(setting, func(t *testing.T) {
			t.Setenv(setting, value)
			_, err := load(t)
			require.NoError(t, err, "without a token it is fine")
			t.Setenv("KW_TOKEN_FILE", "token")
			_, err = load(t)
			require.ErrorContains(t, err, "the URL has a user, and KW_TOKEN_FILE is set: a request has one Authorization, want one of them")
			require.ErrorContains(t, err, setting)
			require.NotContains(t, err.Error(), "s3cr3t")
		})
	}
}
