package credential

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// Span is a part of a text, in bytes.
type Span struct{ Start, End int }

// minText is the shortest text that is looked into; a shorter one holds no
// token, and no name with a value.
const minText = 6

// Suspicious is a quick no for most texts; b may be as JSON writes it.
func (r *Rules) Suspicious(b []byte) bool {
	if r != nil && len(r.values)+len(r.more) > 0 {
		return true
	}
	if len(b) < minText {
		return false
	}
	mark, stem := false, false // what stands between a name and a value, and a name
	for i, c := range b {
		switch c {
		case '=', ' ', '<':
			mark = true
		case '@':
			return true
		case ':':
			if mark = true; i+2 < len(b) && b[i+1] == '/' && b[i+2] == '/' {
				return true
			}
		default:
			if begins[c] && i+2 < len(b) {
				stem = stem || isStem(b[i], b[i+1], b[i+2])
				if len(b) >= minToken && isShape(c, b[i+1], b[i+2]) {
					return true
				}
			}
		}
		if mark && stem {
			return true
		}
	}
	return false
}

// begins are the first bytes of what isStem and isShape know.
var begins = func() (t [256]bool) {
	for _, c := range "pPsStTkKcCaAjJegxrhHndDbB" {
		t[c] = true
	}
	return t
}()

// isShape tells whether a token of a known shape, or the scheme in front of
// one, may begin with these three bytes.
func isShape(a, b, c byte) bool {
	switch a {
	case 'e':
		return b == 'y' && c == 'J'
	case 'g': // ghp_, github_pat_, glpat-
		return b == 'h' || b == 'i' && c == 't' || b == 'l' && c == 'p'
	case 'x':
		return b == 'o' && c == 'x' || b == 'a' && c == 'p'
	case 'A':
		return b == 'K' && c == 'I' || b == 'S' && c == 'I' || b == 'I' && c == 'z'
	case 'r':
		return b == 'k' && c == '_'
	case 's':
		return b == 'k' && (c == '_' || c == '-')
	case 'S':
		return b == 'G' && c == '.'
	case 'h': // hvs., hooks.slack.com
		return b == 'v' && c == 's' || b == 'o' && c == 'o'
	case 'n':
		return b == 'p' && c == 'm'
	case 'd':
		return b == 'o' && c == 'p' || b == 'i' && c == 's'
	case 'p':
		return b == 'y' && c == 'p'
	case 'a': // api.telegram.org
		return b == 'p' && c == 'i'
	case 'b', 'B': // bearer, basic
		return b|0x20 == 'e' && c|0x20 == 'a' || b|0x20 == 'a' && c|0x20 == 's'
	}
	return false
}

func mayHoldShape(text string) bool {
	for i := 0; i+2 < len(text); i++ {
		if begins[text[i]] && isShape(text[i], text[i+1], text[i+2]) {
			return true
		}
	}
	return false
}

// minToken is the length of the shortest token of a known shape.
const minToken = 14

var (
	pemBlock = regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|$)`)
	jwt      = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*`)
	shapes   = regexp.MustCompile(`\b(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}|` +
		`(?:AKIA|ASIA)[A-Z0-9]{12,}|AIza[\w-]{30,}|[sr]k_(?:live|test)_\w{10,}|sk-[\w-]{20,}|hvs\.[\w-]{16,}|npm_\w{20,}|` +
		`SG\.[\w-]{10,}\.[\w-]{10,}|dop_v1_\w{16,}|pypi-[\w-]{20,})`)
	hooks  = regexp.MustCompile(`hooks\.slack\.com/(?:services|workflows|triggers)/([\w/.:-]+)|discord(?:app)?\.com/api/webhooks/([\w/.:-]+)|api\.telegram\.org/bot([\w:-]+)`)
	scheme = regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+([A-Za-z0-9._~+/=-]{8,})`)
	dsn    = regexp.MustCompile(`[\w.-]+:([^\s@/"']+)@(?:tcp|udp|unix)\(`)
	tag    = regexp.MustCompile(`<([A-Za-z][\w.:-]*)>([^<>]+)</`)
)

// Text finds the credentials in a text and appends where they are to dst, in
// order and without overlaps. prose tells that the text is written for people,
// where a name with a value is none.
func (r *Rules) Text(dst []Span, text string, prose bool) []Span {
	start := len(dst)
	add := func(re *regexp.Regexp) {
		for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
			dst = append(dst, group(m))
		}
	}
	if r.has(PrivateKeys) && strings.Contains(text, "PRIVATE KEY") {
		add(pemBlock)
	}
	if r.has(URLs) {
		dst = urls(dst, text)
		if strings.Contains(text, "@") {
			add(dsn)
		}
	}
	if r.has(Tokens) {
		dst = r.tokens(dst, text)
	}
	if r != nil {
		for _, re := range r.values {
			add(re)
		}
	}
	if !prose {
		dst = r.pairs(dst, text)
	}
	return merged(dst, start, text)
}

// tokens finds what looks like a token by itself.
func (r *Rules) tokens(dst []Span, text string) []Span {
	if len(text) < minToken || !mayHoldShape(text) {
		return dst
	}
	for _, re := range []*regexp.Regexp{jwt, shapes, hooks} {
		for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
			dst = append(dst, group(m))
		}
	}
	for _, m := range scheme.FindAllStringSubmatchIndex(text, -1) {
		if s := text[m[2]:m[3]]; len(s) >= 20 || strings.ContainsAny(s, "0123456789") {
			dst = append(dst, Span{m[2], m[3]})
		}
	}
	return dst
}

// group is the first group of a match that has one, or the whole.
func group(m []int) Span {
	for i := 2; i+1 < len(m); i += 2 {
		if m[i] >= 0 && m[i] < m[i+1] {
			return Span{m[i], m[i+1]}
		}
	}
	return Span{m[0], m[1]}
}

// merged puts what was found behind start in order and joins what overlaps;
// what is a placeholder already is left out.
func merged(all []Span, start int, text string) []Span {
	found := all[start:]
	slices.SortFunc(found, func(a, b Span) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End)) })
	out := found[:0]
	for _, s := range found {
		if s.Start >= s.End || strings.HasPrefix(text[s.Start:s.End], placeholder) {
			continue
		}
		if n := len(out); n > 0 && s.Start < out[n-1].End {
			out[n-1].End = max(out[n-1].End, s.End)
			continue
		}
		out = append(out, s)
	}
	return all[:start+len(out)]
}

// maxAuthority bounds the part of a URL that is looked at, in bytes.
const maxAuthority = 512

// urls finds the passwords in URLs: scheme://user:password@host. One that
// somebody has not escaped may hold a slash.
func urls(dst []Span, text string) []Span {
	for at := 0; ; {
		i := strings.Index(text[at:], "://")
		if i < 0 {
			return dst
		}
		start := at + i + len("://")
		end := start
		for end < len(text) && end-start < maxAuthority && !strings.ContainsRune(" \t\r\n\"'`<>|\\", rune(text[end])) {
			end++
		}
		at = start
		word := text[start:end]
		authority := word
		if n := strings.IndexAny(word, "/?#"); n >= 0 {
			authority = word[:n]
		}
		user, rest, ok := strings.Cut(authority, ":")
		if !strings.Contains(authority, "@") && ok && strings.Contains(word, "@") && !isPort(rest) {
			authority = word
		}
		host := strings.LastIndexByte(authority, '@')
		switch {
		case host < 0 || strings.HasPrefix(authority, placeholder):
		case ok && len(user) < host:
			if pw := authority[len(user)+1 : host]; pw != "" && !isReference(pw) {
				dst = append(dst, Span{start + len(user) + 1, start + host})
			}
		case host >= 16 && !isReference(authority[:host]): // a token in the place of the user
			dst = append(dst, Span{start, start + host})
		}
	}
}

func isPort(s string) bool { return s == "" || strings.Trim(s, "0123456789") == "" }
