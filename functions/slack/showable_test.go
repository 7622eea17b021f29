package slack

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// shown is the part of a message that Slack lays down limits for:
// https://docs.slack.dev/reference/block-kit/blocks
type shown struct {
	Text   string
	Blocks []struct {
		Type     string
		Text     *shownText
		Elements []shownText
	}
	UnfurlLinks *bool `json:"unfurl_links"`
	UnfurlMedia *bool `json:"unfurl_media"`
}

type shownText struct {
	Type, Text string
	Emoji      *bool
	Verbatim   bool
}

// What Slack makes of <…> in text: of those only a date and a link that the
// configuration asked for may be there.
var (
	dateMark = regexp.MustCompile(`^<!date\^\d+\^\{date_short_pretty\} \{time_secs\}\|[0-9TZ:-]+>$`)
	linkMark = regexp.MustCompile(`<https?://[^<>|]+\|`)
	escape3  = regexp.MustCompile(`&(amp|lt|gt);`)
)

// requireShowable checks a posted message as Slack would, and that nothing in it
// is markup that is not the function's own.
func requireShowable(t *testing.T, posted []byte) {
	t.Helper()
	var m shown
	require.NoError(t, json.Unmarshal(posted, &m))
	require.NotEmpty(t, m.Text)
	require.LessOrEqual(t, utf8.RuneCountInString(m.Text), maxText)
	requireEscaped(t, m.Text)
	require.GreaterOrEqual(t, len(m.Blocks), 2)
	require.LessOrEqual(t, len(m.Blocks), 50)
	for _, b := range m.Blocks {
		texts := b.Elements
		switch b.Type {
		case "section":
			require.NotNil(t, b.Text)
			texts = []shownText{*b.Text}
		case "context":
			require.NotEmpty(t, texts)
			require.LessOrEqual(t, len(texts), 10)
		default:
			require.Fail(t, "a block that nobody knows", b.Type)
		}
		for _, text := range texts {
			requireShowableText(t, text)
		}
	}
}

func requireShowableText(t *testing.T, text shownText) {
	t.Helper()
	require.NotEmpty(t, text.Text)
	require.True(t, utf8.ValidString(text.Text))
	require.LessOrEqual(t, utf8.RuneCountInString(text.Text), maxText)
	switch text.Type {
	case "plain_text":
		require.False(t, text.Verbatim)
		require.NotNil(t, text.Emoji)
		require.False(t, *text.Emoji)
		requireEscaped(t, text.Text)
	case "mrkdwn":
		require.Nil(t, text.Emoji)
		if dateMark.MatchString(text.Text) {
			return
		}
		require.True(t, text.Verbatim)
		require.Zero(t, strings.Count(text.Text, fence)%2)
		requireEscaped(t, strings.Replace(linkMark.ReplaceAllString(text.Text, ""), ">*", "*", 1))
	default:
		require.Fail(t, "a text that nobody knows", text.Type)
	}
}

// requireEscaped checks that Slack shows text as it is.
func requireEscaped(t *testing.T, text string) {
	t.Helper()
	rest := escape3.ReplaceAllString(text, "")
	require.NotContains(t, rest, "&", "an escape is cut or missing")
	require.NotContains(t, rest, "<")
	require.NotContains(t, rest, ">")
	for _, r := range text {
		require.False(t, r < ' ' && r != '\n' && r != '\t' || r == 0x7f, "a control character")
	}
}
