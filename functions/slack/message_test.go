package slack

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "+line %04d\n", i)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestLongPayloadIsCutAtALineAndSaysWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"fits":              {"a\nb", "```\na\nb\n```"},
		"fits exactly":      {strings.Repeat("ü", 200), "```\n" + strings.Repeat("ü", 200) + "\n```"},
		"lines":             {numbered(100), "```\n" + numbered(18) + "\n```\n… 82 more lines"},
		"one line too much": {numbered(18) + "\nlast", "```\n" + numbered(18) + "\n```\n… 1 more line"},
		"a long line":       {strings.Repeat("😀", 201), "```\n" + strings.Repeat("😀", 199) + "…\n```\n… the last line is longer"},
		"a long line first": {strings.Repeat("<", 100) + "\nb\nc", "```\n" + strings.Repeat("&lt;", 49) + "…\n```\n… 2 more lines"},
		"a long line later": {"a\n" + strings.Repeat("b", 300), "```\na\n" + strings.Repeat("b", 197) + "…\n```\n… the last line is longer"},
		"no room for a part": {
			numbered(14) + "\n" + strings.Repeat("b", 300) + "\nc",
			"```\n" + numbered(14) + "\n```\n… 2 more lines",
		},
		"empty lines": {strings.Repeat("\n", 300) + "x", "```\n" + strings.Repeat("\n", 200) + "\n```\n… 100 more lines"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, codeBlock(c.text, 200)) })
	}
}

func TestPayloadCannotEndItsCodeBlock(t *testing.T) {
	for n := range 20 {
		got := codeBlock(strings.Repeat("`", n)+"\n"+strings.Repeat("`", n), 200)
		require.Equal(t, 2, strings.Count(got, "```"), "%d backticks: %q", n, got)
		require.Equal(t, 2*n+6, strings.Count(got, "`"))
	}
	require.Equal(t, "```\n``\n```", codeBlock("``", 200), "two are left as they are")
}

func TestMessageStaysWithinWhatSlackShows(t *testing.T) {
	for name, line := range map[string]string{
		"letters": "x", "runes": "😀", "escapes": "&<>", "backticks": "`", "lines": "y\n", "long lines": strings.Repeat("z", 900) + "\n",
	} {
		e := deployment(func(e *event.Event) {
			text := strings.Repeat(line, 4001)
			e.Payload = event.TextPayload("text/plain", text)
			e.Diff.Summary, e.Name, e.Cluster = text, text, text
			e.ChangedBy[0].Manager = text
		})
		a := message(&e, e.Cluster).Attachments[0]
		require.LessOrEqual(t, utf8.RuneCountInString(a.Text), maxText, name)
		require.Greater(t, utf8.RuneCountInString(a.Text), maxText/2, name)
		require.LessOrEqual(t, utf8.RuneCountInString(a.Title), maxTitle, name)
		require.LessOrEqual(t, utf8.RuneCountInString(a.Fallback), maxTitle, name)
		require.LessOrEqual(t, utf8.RuneCountInString(a.Footer), maxFooter, name)
		require.LessOrEqual(t, utf8.RuneCountInString(a.Fields[0].Value), maxField, name)
		require.Equal(t, 2, strings.Count(a.Text, "```"), "%s: the block begins and ends once", name)
		require.True(t, utf8.ValidString(a.Text), name)
		for _, text := range []string{a.Text, a.Title, a.Fallback, a.Footer, a.Fields[0].Value} {
			require.NotContains(t, strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(text), "&", "%s: an escape is cut", name)
			require.NotContains(t, text, "<")
		}
	}
}
