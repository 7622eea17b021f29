package suggest

import (
	"strings"
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

func TestAWordIsShownAsFarAsItLooksLikeAName(t *testing.T) {
	for in, want := range map[string]string{
		"webhookURL": `"webhookURL"`, "": `""`, "a.b_c-d*": `"a.b_c-d*"`,
		"webhookurl:https://hooks/secret": `"webhookurl…"`, "https://secret": `"https…"`, "größe": `"gr…"`,
		"x y": `"x…"`, strings.Repeat("x", 41): `"` + strings.Repeat("x", 40) + `…"`,
	} {
		require.Equal(t, want, Word(in))
	}
}
