package diff

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// redacted begins what the watcher puts in a secret value's place.
const redacted = "redacted:"

// maxDetail is the longest value, in runes, that stands behind what was added
// or removed.
const maxDetail = 40

// fromTo tells a value's change.
func (n *note) fromTo() string {
	from, to := n.from, n.to
	a, okA := from.(string)
	b, okB := to.(string)
	if !okA || !okB {
		return arrow(show(from), show(to))
	}
	if strings.HasPrefix(a, redacted) && strings.HasPrefix(b, redacted) {
		return "changed"
	}
	if sizeA, ok := sizeOf(a); ok {
		if sizeB, ok := sizeOf(b); ok {
			if sizeA == sizeB {
				return fmt.Sprintf("changed (%d bytes)", sizeA)
			}
			return fmt.Sprintf("changed (%d → %d bytes)", sizeA, sizeB)
		}
	}
	switch last := n.at[len(n.at)-1].(type) {
	case line: // how far it is indented is for the diff
		if x, y := strings.TrimSpace(a), strings.TrimSpace(b); x != y {
			a, b = x, y
		}
	case string:
		if last == "image" {
			a, b = skipRepository(a, b)
		}
	}
	a, b = skipCommon(a, b)
	if clear(a) && clear(b) { // both are text: no need to tell it from a number
		return arrow(clipEnd(a, maxShown), clipEnd(b, maxShown))
	}
	return arrow(show(a), show(b))
}

func arrow(a, b string) string {
	if a == b {
		return "changed"
	}
	return a + " → " + b
}

// clear tells whether a text on one line needs no quotes to be read.
func clear(s string) bool {
	return s != "" && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return !isPrint(r) })
}

// detail is what was added or removed, behind its name: =5, or how much it is.
func (n *note) detail(v any) string {
	last := n.at[len(n.at)-1]
	if m, ok := v.(map[string]any); ok {
		value, ok := m["value"].(string) // of a variable
		if _, isItem := last.(label); isItem && ok && len(m) == 2 {
			return short(value)
		}
		return ""
	}
	if _, isLabel := last.(label); isLabel {
		return "" // the label is the value
	}
	switch v := v.(type) {
	case []any:
		return ""
	case string:
		if isLines(v) {
			return fmt.Sprintf(" (%d lines)", countLines(strings.TrimSuffix(v, "\n")))
		}
		return short(v)
	}
	return "=" + show(v)
}

func short(v string) string {
	if strings.HasPrefix(v, redacted) || !clear(v) || utf8.RuneCountInString(v) > maxDetail {
		return ""
	}
	return "=" + v
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

// skipRepository leaves of two images of one repository what comes behind it:
// the tags, or the first digits of the digests.
func skipRepository(a, b string) (string, string) {
	repoA, tagA := cutImage(a)
	repoB, tagB := cutImage(b)
	if repoA != repoB || tagA == "" || tagB == "" || tagA == tagB {
		return a, b
	}
	return tagA, tagB
}

// cutImage splits an image's name behind its repository: a colon behind the
// last slash begins a tag, before it a port.
func cutImage(image string) (repository, tag string) {
	if repository, digest, ok := strings.Cut(image, "@"); ok {
		name, tag := cutImage(repository)
		if kind, hex, ok := strings.Cut(digest, ":"); ok && len(hex) > 12 {
			digest = kind + ":" + hex[:12]
		}
		if tag != "" {
			return name, tag + "@" + digest
		}
		return repository, digest
	}
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return image[:i], image[i+1:]
	}
	return image, ""
}

// skipCommon leaves out the beginning that two long strings share, so that the
// clipped ones still differ: two images of one long name, say.
func skipCommon(a, b string) (string, string) {
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
