// Package suggest finds the name that somebody who misspelt one may have
// meant.
package suggest

import "strings"

// Nearest gives the candidate that is closest to word, whatever the case, or
// nothing if none is close: one edit in a short word, three in a long one.
func Nearest(word string, candidates []string) string {
	word = strings.ToLower(word)
	best, distance := "", 2 // more than the edits that are allowed
	switch {
	case len(word) > 8:
		distance = 4
	case len(word) > 3:
		distance = 3
	}
	for _, c := range candidates {
		if d := edits(word, strings.ToLower(c)); d < distance && d < len(word) {
			best, distance = c, d
		}
	}
	return best
}

// Hint is what to append to an error about word: the nearest candidate, else
// all of them, which have to be few.
func Hint(word string, candidates []string) string {
	if near := Nearest(word, candidates); near != "" {
		return ": did you mean " + near + "?"
	}
	if len(candidates) == 0 {
		return ""
	}
	return ": want " + strings.Join(candidates, ", ")
}

// edits is the Levenshtein distance of two words.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Word quotes what a user took for a name, for an error: only as far as it
// looks like one, for it may be a secret in the wrong place.
func Word(s string) string {
	const most = 40
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-*"
	end := strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(letters, r) })
	if end < 0 {
		end = len(s)
	}
	if short := s[:min(end, most)]; short != s {
		return `"` + short + `…"`
	}
	return `"` + s + `"`
}
