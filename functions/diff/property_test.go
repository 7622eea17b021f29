package diff

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// seeds is how many pairs of manifests each property is tried on.
const seeds = 3000

// forRandomPairs runs check on pairs of manifests and what the function
// answers to them; old and new are what it sees after Clean.
func forRandomPairs(t *testing.T, nulls bool, check func(t *testing.T, old, new map[string]any, out *event.Event)) {
	t.Helper()
	for seed := range uint64(seeds) {
		r := newRandom(seed)
		r.nulls = nulls
		before := r.object(4)
		after := r.editObject(before, 4)
		e := changed(compact(t, before), compact(t, after))
		if old, err := event.DecodeManifest(e.OldObject); err == nil {
			before = old
		}
		event.Clean(before)
		event.Clean(after)
		out, err := handle(t.Context(), e)
		if same(before, after) {
			require.Nil(t, out, "seed %d", seed)
			require.ErrorContains(t, err, "stop: ", "seed %d", seed)
			continue
		}
		require.NoError(t, err, "seed %d", seed)
		if !t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { check(t, before, after, out) }) {
			return
		}
	}
}

func TestPatchTurnsTheOldManifestIntoTheNew(t *testing.T) {
	forRandomPairs(t, false, func(t *testing.T, old, new map[string]any, out *event.Event) {
		patch, err := event.DecodeManifest(out.Diff.Patch)
		require.NoError(t, err)
		require.Equal(t, compact(t, new), compact(t, applyMergePatch(old, patch)))
	})
}

// applyMergePatch is the algorithm of RFC 7396, section 2.
func applyMergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out := map[string]any{}
	if t, ok := target.(map[string]any); ok {
		for key, value := range t {
			out[key] = value
		}
	}
	for key, value := range p {
		if value == nil {
			delete(out, key)
		} else {
			out[key] = applyMergePatch(out[key], value)
		}
	}
	return out
}

func TestUnifiedDiffTurnsTheOldYAMLIntoTheNew(t *testing.T) {
	forRandomPairs(t, true, func(t *testing.T, old, new map[string]any, out *event.Event) {
		require.Equal(t, renderYAML(new, old), applyUnified(t, renderYAML(old, new), out.Payload.Text()))
	})
}

// applyUnified applies a unified diff strictly: every header counts right,
// every line of context and every removed line is the one that stands there.
func applyUnified(t *testing.T, old, text string) string {
	t.Helper()
	lines := splitLines(text)
	require.GreaterOrEqual(t, len(lines), 3)
	require.True(t, strings.HasPrefix(lines[0], "--- ") && strings.HasPrefix(lines[1], "+++ "))
	from, at := splitLines(old), 0
	var to []string
	for i := 2; i < len(lines); {
		fields := strings.Fields(lines[i])
		require.Equal(t, "@@", fields[0], lines[i])
		oldStart, oldCount := parseSpan(t, fields[1], "-")
		newStart, newCount := parseSpan(t, fields[2], "+")
		to = append(to, from[at:oldStart]...)
		at = oldStart
		require.Len(t, to, newStart, lines[i])
		for i++; i < len(lines) && !strings.HasPrefix(lines[i], "@@"); i++ {
			if mark := lines[i][0]; mark == '+' {
				newCount--
			} else {
				require.Equal(t, from[at], lines[i][1:])
				at++
				oldCount--
				if mark == '-' {
					continue
				}
				newCount--
			}
			to = append(to, lines[i][1:])
		}
		require.Zero(t, oldCount)
		require.Zero(t, newCount)
	}
	return strings.Join(append(to, from[at:]...), "\n") + "\n"
}

// parseSpan gives the lines before a range and how many it has.
func parseSpan(t *testing.T, s, sign string) (before, count int) {
	t.Helper()
	start, size, ok := strings.Cut(strings.TrimPrefix(s, sign), ",")
	before, err := strconv.Atoi(start)
	require.NoError(t, err)
	count = 1
	if ok {
		count, err = strconv.Atoi(size)
		require.NoError(t, err)
	}
	if count > 0 {
		before--
	}
	return before, count
}

func TestChangesAreCompleteOrderedAndReadable(t *testing.T) {
	forRandomPairs(t, true, func(t *testing.T, old, new map[string]any, out *event.Event) {
		require.NotEmpty(t, out.Diff.Changes)
		require.Zero(t, out.Diff.Omitted)
		seen := map[string]bool{}
		for _, c := range out.Diff.Changes {
			require.False(t, seen[c.Op+c.Path], "%s %s twice", c.Op, c.Path)
			seen[c.Op+c.Path] = true
			require.NotEqual(t, compact(t, c.From)+c.Op, compact(t, c.To)+opReplace)
			requireHarmless(t, c.Path, "")
		}
		requireHarmless(t, out.Diff.Summary, "")
		requireHarmless(t, out.Payload.Text(), "\n")
		again := compare(old, new, maxPart, false)
		require.Equal(t, again.changes, out.Diff.Changes)
	})
}

// requireHarmless wants text that cannot upset a line, a header or a terminal.
func requireHarmless(t *testing.T, s, but string) {
	t.Helper()
	for _, r := range s {
		if !unicode.IsPrint(r) && !strings.ContainsRune(but, r) {
			require.Failf(t, "raw control character", "%U in %q", r, s)
		}
	}
}

// TestEncodedSizeIsWhatJSONTakes: an estimate that is too small breaks the
// limits, one that is too large wastes them.
func TestEncodedSizeIsWhatJSONTakes(t *testing.T) {
	for seed := range uint64(seeds) {
		r := newRandom(seed)
		r.nulls = true
		v := r.value(4)
		exact, size := len(compact(t, v)), encodedSize(v)
		require.GreaterOrEqual(t, size, exact, "seed %d", seed)
		require.LessOrEqual(t, size, exact+exact/3+8, "seed %d", seed)
		if s, ok := v.(string); ok {
			require.Equal(t, exact, encodedString(s), "seed %d: %q", seed, s)
		}
	}
	require.Equal(t, len(`"\u0000\u001b\b\f\n\r\t\"\\\u2028"`), encodedString("\x00\x1b\b\f\n\r\t\"\\\u2028"))
	require.Equal(t, 4, encodedSize(json.Number("1.10")))
}

// TestPatchIsThatOfWholeManifests: what the library is not shown changes nothing.
func TestPatchIsThatOfWholeManifests(t *testing.T) {
	for seed := range uint64(seeds) {
		r := newRandom(seed)
		r.nulls = true
		before := r.object(4)
		requireLibraryPatch(t, before, r.editObject(before, 4))
	}
	requireLibraryPatch(t, map[string]any{"a": map[string]any{"b": nil}, "c": nil}, map[string]any{"a": map[string]any{}, "c": true})
	requireLibraryPatch(t, map[string]any{"a": map[string]any{"b": 1}}, map[string]any{"a": map[string]any{"b": 1}, "e": map[string]any{}})
	requireLibraryPatch(t, map[string]any{}, map[string]any{"all": "\x00\x01\b\f\n\r\t\x1f \"\\/<>&\x7fé\u2027\u2028\u2029\u202a\ufffd😀"})
}

func requireLibraryPatch(t *testing.T, old, new map[string]any) {
	t.Helper()
	from, to := compact(t, old), compact(t, new)
	want, err := jsonpatch.CreateMergePatch([]byte(from), []byte(to))
	require.NoError(t, err)
	before, after, err := event.DecodeManifests([]byte(from), []byte(to))
	require.NoError(t, err)
	got, err := mergePatch(before, after, 1<<30)
	require.NoError(t, err)
	w, g, err := event.DecodeManifests(want, got)
	require.NoError(t, err)
	require.True(t, same(w, g), "%s\n%s\n%s\n%s", from, to, want, got)
}

// TestSharedPartsReadAsIfWrittenTwice: what is written once stands in both texts.
func TestSharedPartsReadAsIfWrittenTwice(t *testing.T) {
	for seed := range uint64(seeds) {
		r := newRandom(seed)
		r.nulls = true
		m := r.object(5)
		old, new, err := event.DecodeManifests([]byte(compact(t, m)), []byte(compact(t, r.editObject(m, 5))))
		require.NoError(t, err)
		before, after := renderBoth(old, new)
		require.Equal(t, renderYAML(old, new), before, "seed %d", seed)
		require.Equal(t, renderYAML(new, old), after, "seed %d", seed)
	}
}
