package suggest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheNearestNameIsSuggested(t *testing.T) {
	names := []string{"diff", "ignoreevents", "log", "slack", "webhookURL"}
	for _, tt := range []struct{ word, want string }{
		{"slak", "slack"},
		{"Slakc", "slack"},
		{"webhookurls", "webhookURL"},
		{"ignore-events", "ignoreevents"},
		{"ignorevnts", "ignoreevents"},
		{"logs", "log"},
		{"lo", "log"},
		{"x", ""},
		{"", ""},
		{"teams", ""},
	} {
		require.Equal(t, tt.want, Nearest(tt.word, names), tt.word)
	}
}

func TestTheHintNamesTheNearestOrAll(t *testing.T) {
	require.Equal(t, ": did you mean log?", Hint("logg", []string{"diff", "log"}))
	require.Equal(t, ": want diff, log", Hint("teams", []string{"diff", "log"}))
	require.Empty(t, Hint("teams", nil))
}
