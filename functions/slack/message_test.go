package slack

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slack-go/slack"
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
		t.Run(name, func(t *testing.T) {
			got, whole := codeBlock(c.text, 200)
			require.Equal(t, c.want, got)
			require.Equal(t, strings.HasSuffix(c.want, fence), whole)
		})
	}
}

func TestPayloadCannotEndItsCodeBlock(t *testing.T) {
	for n := range 20 {
		got, _ := codeBlock(strings.Repeat("`", n)+"\n"+strings.Repeat("`", n), 200)
		require.Equal(t, 2, strings.Count(got, "```"), "%d backticks: %q", n, got)
		require.Equal(t, 2*n+6, strings.Count(got, "`"))
	}
	two, _ := codeBlock("``", 200)
	require.Equal(t, "```\n``\n```", two, "two are left as they are")
}

func TestMessageStaysWithinWhatSlackShows(t *testing.T) {
	for name, line := range map[string]string{
		"letters": "x", "runes": "😀", "escapes": "&<>", "backticks": "`", "lines": "y\n", "long lines": strings.Repeat("z", 900) + "\n",
	} {
		e := deployment(func(e *event.Event) {
			text := strings.Repeat(line, 4001)
			e.Payload = event.TextPayload("text/plain", text)
			e.Diff.Summary, e.Name, e.Cluster, e.Namespace = text, text, text, text
			e.ChangedBy[0].Manager = text
		})
		m := new(layout).message(t.Context(), &e)
		require.True(t, m.cut, name)
		posted, err := json.Marshal(slack.WebhookMessage{Text: m.text, Blocks: &slack.Blocks{BlockSet: m.blocks}})
		require.NoError(t, err)
		requireShowable(t, posted)
		block := textOf(m.blocks[len(m.blocks)-1])
		require.Greater(t, utf8.RuneCountInString(block), maxText/2, name)
		require.Equal(t, 2, strings.Count(block, fence), "%s: the block begins and ends once", name)
	}
}

func textOf(b slack.Block) string { return b.(*slack.SectionBlock).Text.Text }
