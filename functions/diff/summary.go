package diff

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kwatchman/kwatchman/event"
)

// Lengths in the summary, in runes.
const (
	maxShown     = 60  // a value
	maxPathShown = 160 // a path; its end says more than its beginning
	shownBefore  = 12  // what of a common prefix stays before the difference
)

// summary names one change and counts the others, in one line without control
// characters: spec.replicas 3 → 5, +2 more.
func (c *comparison) summary() string {
	line := clipStart(c.lead.Path, maxPathShown) + " " + describe(c.lead)
	if c.total > 1 {
		line += fmt.Sprintf(", +%d more", c.total-1)
	}
	return line
}

func describe(c event.FieldChange) string {
	switch c.Op {
	case opAdd:
		return "added: " + show(c.To)
	case opRemove:
		return "removed: " + show(c.From)
	}
	from, to := c.From, c.To
	if a, ok := from.(string); ok {
		if b, ok := to.(string); ok {
			from, to = skipCommon(a, b)
		}
	}
	a, b := show(from), show(to)
	if a == b {
		return "changed"
	}
	return a + " → " + b
}

// show is a value in a few words.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return clipEnd(v.String(), maxShown)
	case string:
		if n := strings.Count(strings.TrimSuffix(v, "\n"), "\n"); n > 0 {
			return fmt.Sprintf("%d lines", n+1)
		}
		return scalar(clipEnd(v, maxShown))
	case map[string]any:
		return count(len(v), "{%d %s}", "field", "{}")
	case []any:
		return count(len(v), "[%d %s]", "item", "[]")
	default:
		return "?" // no other type comes out of JSON
	}
}

func count(n int, format, noun, none string) string {
	switch n {
	case 0:
		return none
	case 1:
		return fmt.Sprintf(format, n, noun)
	}
	return fmt.Sprintf(format, n, noun+"s")
}

// skipCommon leaves out the beginning that two long strings share, so that the
// clipped ones still differ: two images of one long name, say.
func skipCommon(a, b string) (any, any) {
	if utf8.RuneCountInString(a) <= maxShown && utf8.RuneCountInString(b) <= maxShown ||
		strings.Contains(a, "\n") || strings.Contains(b, "\n") {
		return a, b
	}
	same := 0
	for same < len(a) && same < len(b) && a[same] == b[same] {
		same++
	}
	cut := same
	for cut > 0 && cut < len(a) && !utf8.RuneStart(a[cut]) {
		cut--
	}
	for range shownBefore {
		_, size := utf8.DecodeLastRuneInString(a[:cut])
		cut -= size
	}
	if cut == 0 {
		return a, b
	}
	return "…" + a[cut:], "…" + b[cut:]
}

// clipEnd cuts s to at most n runes and marks the cut.
func clipEnd(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n--; n == 0 && utf8.RuneCountInString(s[i:]) > 1 {
			return s[:i] + "…"
		}
	}
	return s
}

// clipStart keeps at most the last n runes of s and marks the cut.
func clipStart(s string, n int) string {
	surplus := utf8.RuneCountInString(s) - n
	if surplus <= 0 {
		return s
	}
	for i := range s {
		if surplus--; surplus < -1 {
			return "…" + s[i:]
		}
	}
	return s
}
