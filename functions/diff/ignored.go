package diff

import (
	"slices"
	"strings"

	"github.com/kwatchman/kwatchman/event"
)

// What of the annotation is read: more belongs into DIFF_IGNORE.
const (
	maxIgnored     = 64      // paths
	maxIgnoredText = 4 << 10 // bytes
)

// ignoredBy reads IgnoreAnnotation. On an update both versions must have it:
// the change that sets or takes it away is shown, with all else that it does.
// A path that cannot be read ignores nothing.
func ignoredBy(action event.Action, old, now map[string]any) (rules []rule, all bool) {
	var before, after []string
	switch action {
	case event.Add:
		after = ignoredPaths(now)
		before = after
	case event.Delete:
		before = ignoredPaths(old)
		after = before
	default:
		if before = ignoredPaths(old); len(before) > 0 {
			after = ignoredPaths(now)
		}
	}
	everything := []string{"true"}
	switch wholeOld, wholeNew := slices.Equal(before, everything), slices.Equal(after, everything); {
	case wholeOld && wholeNew:
		return nil, true
	case wholeOld:
		before = after
	case wholeNew:
		after = before
	}
	for _, text := range before {
		if !slices.Contains(after, text) {
			continue
		}
		if p, err := parsePattern(text); err == nil {
			rules = append(rules, rule{pattern: p, because: "%s (" + IgnoreAnnotation + ")"})
		}
	}
	return rules, false
}

// ignoredPaths are the paths that a manifest's annotation names, separated by
// commas or white space; "true" alone are all.
func ignoredPaths(m map[string]any) []string {
	meta, _ := m["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	text, _ := annotations[IgnoreAnnotation].(string)
	if text == "" || len(text) > maxIgnoredText {
		return nil
	}
	paths := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' || r == '\r' })
	if len(paths) == 1 && strings.EqualFold(paths[0], "true") {
		return []string{"true"}
	}
	if len(paths) == 1 && strings.EqualFold(paths[0], "false") {
		return nil
	}
	return paths[:min(len(paths), maxIgnored)]
}
