package diff

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

const (
	largest = 1536 << 10 // a manifest at etcd's usual limit
	large   = 400 << 10  // one whose diff passes every limit, and tests stay quick
)

// repeated fills a manifest with unit up to size bytes of JSON; %d counts.
func repeated(begin, unit, separator, end string, size int) string {
	var b strings.Builder
	b.WriteString(begin)
	for i := 0; b.Len() < size-len(end)-len(unit)-16; i++ {
		if i > 0 {
			b.WriteString(separator)
		}
		if strings.Contains(unit, "%d") {
			_, _ = fmt.Fprintf(&b, unit, i)
		} else {
			b.WriteString(unit)
		}
	}
	b.WriteString(end)
	return b.String()
}

// hardPairs are manifests of size bytes, hard on one limit or another.
func hardPairs(size int) map[string]func() (old, new string) {
	pair := func(begin, end, separator, old, new string) func() (string, string) {
		return func() (string, string) {
			return repeated(begin, old, separator, end, size), repeated(begin, new, separator, end, size)
		}
	}
	const data = `{"kind":"ConfigMap","data":{`
	long := strings.Repeat("[", 36)
	return map[string]func() (string, string){
		"many small changes":             pair(data, `}}`, `,`, `"k%d":"a"`, `"k%d":"b"`),
		"many removed, many added":       pair(data, `}}`, `,`, `"k%d":"a"`, `"n%d":"a"`),
		"one long line":                  pair(data+`"f":"`, `"}}`, ``, `a`, `b`),
		"one long line of wide runes":    pair(data+`"f":"`, `"}}`, ``, `ü`, `🎉`),
		"a file, every line different":   pair(data+`"f":"`, `"}}`, ``, `line %d\n`, `Line %d\n`),
		"a file, every other line same":  pair(data+`"f":"`, `"}}`, ``, `line %d\nsame\n`, `Line %d\nsame\n`),
		"a file of empty lines":          pair(data+`"f":"x`, `"}}`, ``, `\n`, `\n\n\n-`),
		"control characters":             pair(data+`"f":"`, `"}}`, ``, `\u0000`, `\u0001`),
		"control characters in raw form": pair(data+`"f":"`, `"}}`, ``, "\u2028", "\u2029"),
		"markup":                         pair(data+`"f":"`, `"}}`, ``, `<`, `>`),
		"quotes on many lines":           pair(data+`"f":"`, `"}}`, ``, `\"\"\"\"\"\n`, `\\\\\\\n`),
		"a long list":                    pair(`{"l":[`, `]}`, `,`, `1`, `2`),
		"a list far down":                pair(`{"l":`+long, strings.Repeat("]", 36)+`}`, `,`, `{}`, `[]`),
		"a long key":                     pair(`{"`, `":1}`, ``, `a`, `b`),
		"a long number":                  pair(`{"n":`, `}`, ``, `1`, `2`),
		"a subtree appears": func() (string, string) {
			return `{"kind":"X"}`, repeated(`{"kind":"X","data":{`, `"k%d":"a"`, `,`, `}}`, size)
		},
	}
}

var moreLines = regexp.MustCompile(`\n… (\d+) more lines\n$`)

func TestAnswerIsBoundedAndSaysWhatItLeavesOut(t *testing.T) {
	pairs := hardPairs(large)
	for name, p := range pairs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireBounded(t, changed(p()))
		})
	}
	manifest, _ := pairs["a long list"]()
	t.Run("created", func(t *testing.T) { requireBounded(t, changed("", manifest)) })
	t.Run("deleted", func(t *testing.T) { requireBounded(t, changed(manifest, "")) })
}

func requireBounded(t *testing.T, e event.Event) {
	t.Helper()
	out, err := handle(t.Context(), e)
	require.NoError(t, err)
	requireWithinLimits(t, out)
	text := out.Payload.Text()
	m, err := decode(&e)
	require.NoError(t, err)
	require.NoError(t, standard().apply(&e, &m))
	if more := moreLines.FindStringSubmatch(text); more != nil {
		whole := unified(e.Subject, m.old, m.new, 1<<30)
		omitted, err := strconv.Atoi(more[1])
		require.NoError(t, err)
		require.Equal(t, strings.Count(whole, "\n"), strings.Count(text, "\n")-1+omitted)
		require.True(t, strings.HasPrefix(whole, strings.TrimSuffix(text, more[0])))
	}
	if e.Action == event.Update {
		require.Equal(t, compare(m.old, m.new, 1<<30, false).total, len(out.Diff.Changes)+out.Diff.Omitted)
	}
}

func requireWithinLimits(t *testing.T, out *event.Event) {
	t.Helper()
	require.LessOrEqual(t, len(out.Payload.Data), maxPart)
	require.LessOrEqual(t, len(compact(t, out.Diff.Changes)), maxPart)
	require.Less(t, utf8.RuneCountInString(out.Diff.Summary), 1000)
	requireHarmless(t, out.Diff.Summary, "")
	requireHarmless(t, out.Payload.Text(), "\n")
}

// TestAnswerToTheLargestManifestsFitsTheNextFunction: even where each byte of
// the patch takes six.
func TestAnswerToTheLargestManifestsFitsTheNextFunction(t *testing.T) {
	pairs := hardPairs(largest)
	for _, name := range []string{"many small changes", "a file, every line different", "markup"} {
		t.Run(name, func(t *testing.T) {
			out, size := answerTo(t, changed(pairs[name]()))
			require.Less(t, size, event.MaxBody)
			requireWithinLimits(t, out)
		})
	}
}

// answerTo gives the function's answer to e and the size of its body.
func answerTo(t *testing.T, e event.Event) (*event.Event, int) {
	t.Helper()
	out, err := handle(t.Context(), e)
	require.NoError(t, err)
	reply, err := out.ToCloudEvent()
	require.NoError(t, err)
	return out, len(reply.Data())
}

// TestPatchThatDoesNotFitIsLeftOut: the text and the changes stay.
func TestPatchThatDoesNotFitIsLeftOut(t *testing.T) {
	const size = 2500 << 10
	out, answered := answerTo(t, changed(
		repeated(`{"f":"`, `<`, ``, `"}`, size), repeated(`{"f":"`, `>`, ``, `"}`, size)))
	require.Nil(t, out.Diff.Patch)
	require.Len(t, out.Diff.Changes, 1)
	require.NotEmpty(t, out.Payload.Text())
	require.Less(t, answered, event.MaxBody)
}

func TestNearlyFullEventLeavesRoomForTheAnswer(t *testing.T) {
	const size = event.MaxBody/2 - headroom
	_, answered := answerTo(t, changed(
		repeated(`{"f":"`, `a\n`, ``, `"}`, size), repeated(`{"f":"`, `b\n`, ``, `"}`, size)))
	require.LessOrEqual(t, answered, event.MaxBody)
}

func TestLongValueIsClippedAndSaysSo(t *testing.T) {
	long := strings.Repeat("ü", maxValue)
	out, err := handle(t.Context(), changed(
		`{"a":"`+long+`","b":{"x":"`+long+`"},"c":1}`, `{"a":"x","c":2}`))
	require.NoError(t, err)
	require.Len(t, out.Diff.Changes, 3)
	a, ok := out.Diff.Changes[0].From.(string)
	require.True(t, ok)
	require.True(t, utf8.ValidString(a))
	require.True(t, strings.HasSuffix(a, fmt.Sprintf("ü… (%d more bytes)", maxValue)), a[len(a)-40:])
	require.Equal(t, "x", out.Diff.Changes[0].To)
	require.Regexp(t, `^… \(\d+ bytes left out\)$`, out.Diff.Changes[1].From)
	require.Equal(t, json.Number("1"), out.Diff.Changes[2].From)
	require.Contains(t, out.Payload.Text(), " more bytes)\n")
}

func TestCallerThatHasGoneEndsTheWork(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, err := handle(ctx, changed(`{"a":1}`, `{"a":2}`))
	require.Nil(t, out)
	require.ErrorIs(t, err, context.Canceled)
}
