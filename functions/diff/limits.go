package diff

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/kwatchman/kwatchman/event"
)

// The limits, in bytes as they travel, that is encoded as JSON.
const (
	// maxPart bounds the text and, on its own, the list of changes.
	maxPart = 256 << 10
	// minPart is what each of them gets however large the manifests are.
	minPart = 4 << 10
	// maxValue bounds one value in the list of changes and one line of text,
	// in bytes before they are encoded.
	maxValue = 16 << 10
	// headroom is for what else an event holds: the managers, names, syntax.
	headroom = 128 << 10
)

type limits struct{ text, changes, patch int }

// limitsFor shares out what the manifests leave of the largest event, so that
// the next function of the chain still accepts it: the text and the changes
// first, the rest to the patch.
func limitsFor(e *event.Event) limits {
	room := event.MaxBody - headroom - len(e.Object) - len(e.OldObject)
	for name, value := range e.Extra {
		room -= len(name) + len(value)
	}
	part := max(minPart, min(maxPart, room/4))
	return limits{text: part, changes: part, patch: room - 2*part}
}

// encodedSize is how many bytes v, a decoded JSON value, takes as JSON.
func encodedSize(v any) int {
	switch v := v.(type) {
	case nil:
		return len("null")
	case bool:
		return len("false")
	case string:
		return encodedString(v)
	case map[string]any:
		n := len("{}")
		for key, value := range v {
			n += encodedString(key) + len(":,") + encodedSize(value)
		}
		return n
	case []any:
		n := len("[]")
		for _, value := range v {
			n += len(",") + encodedSize(value)
		}
		return n
	case json.Number:
		return len(v)
	}
	return 0 // no other type comes out of JSON
}

func encodedString(s string) int {
	n := len(`""`) + len(s)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t' || c == '\b' || c == '\f':
			n++
		case c < 0x20:
			n += len(`\u0000`) - 1
		case c == 0xe2 && i+2 < len(s) && s[i+1] == 0x80 && s[i+2]&^1 == 0xa8: // U+2028, U+2029
			n += len(`\u2028`) - 3
		}
	}
	return n
}

// clipValue keeps a value of a change within maxValue bytes. What is larger
// becomes a string that ends by saying how much was left out.
func clipValue(v any, size int) any {
	if size <= maxValue {
		return v
	}
	if s, ok := v.(string); ok {
		return clipBytes(s, maxValue)
	}
	return fmt.Sprintf("… (%d bytes left out)", size)
}

// clipBytes cuts s to at most n bytes at a rune's border and says how many
// bytes it left out.
func clipBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return fmt.Sprintf("%s… (%d more bytes)", s[:n], len(s)-n)
}
