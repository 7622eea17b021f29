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

// Suspicious is a quick no for most texts; b may be as JSON writes it. A
// password in a URL or in a data source name has an @ behind it.
func (r *Rules) Suspicious(b []byte) bool {
	if r != nil && len(r.values)+len(r.more) > 0 {
		return true
	}
	if len(b) < minText {
		return false
	}
	mark, stem := false, false // what stands between a name and a value, and a name
	for i := 0; i+1 < len(b); i++ {
		c := b[i]
		found := starts[pairOf(c, b[i+1])]
		if found == 0 && !marks[c] {
			continue
		}
		switch {
		case c == '@':
			if !isDigest(b, i) {
				return true
			}
		case marks[c]:
			mark = true
		}
		if found&stemStart != 0 && !stem && i+2 < len(b) {
			stem = isStem(c, b[i+1], b[i+2])
		}
		if found&shapeStart != 0 && len(b) >= minToken && shapeAt(b, i) != 0 || mark && stem {
			return true
		}
	}
	return b[len(b)-1] == '@'
}

// marks are what stands between a name and a value, and in front of a host.
var marks = [256]bool{'=': true, ':': true, ' ': true, '<': true, '@': true}

// isDigest tells the @ of an image's digest from that behind a password.
func isDigest[T string | []byte](b T, i int) bool {
	return len(b)-i > len("@sha256:") && string(b[i:i+len("@sha256:")]) == "@sha256:"
}

// What a pair of letters may begin.
const (
	stemStart = 1 << iota
	shapeStart
)

// starts is a quick no for nearly every place in a text: by the first two
// letters, whatever their case, of what isStem and shapeAt know.
var starts = func() (t [1 << 10]uint8) {
	for flag, words := range map[uint8]string{
		stemStart:  "pa pw se sa to ke cr co au jw do ht",
		shapeStart: "ey gh gi gl xo xa AK AS AI rk sk SG np py hv ho do di ap be ba",
	} {
		for w := range strings.FieldsSeq(words) {
			t[pairOf(w[0], w[1])] |= flag
		}
	}
	return t
}()

// pairOf is where starts has a pair: letters apart from their case, and other
// bytes somewhere.
func pairOf(a, b byte) int { return int(a&31)<<5 | int(b&31) }

// shape is a set of regular expressions that a token may be found by.
type shape uint8

const (
	jwtShape shape = 1 << iota
	prefixShape
	hookShape
	schemeShape
)

// shapeAt tells which tokens, or schemes in front of one, may begin at i: those
// whose fixed part stands there. It spares nearly all texts the expressions.
func shapeAt[T string | []byte](text T, i int) shape {
	switch text[i] {
	case 'e':
		return at(text, i, jwtShape, "eyJ")
	case 'g':
		return at(text, i, prefixShape, "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-")
	case 'x':
		return at(text, i, prefixShape, "xox", "xapp-")
	case 'A':
		return at(text, i, prefixShape, "AKIA", "ASIA", "AIza")
	case 'r':
		return at(text, i, prefixShape, "rk_")
	case 's':
		return at(text, i, prefixShape, "sk_", "sk-")
	case 'S':
		return at(text, i, prefixShape, "SG.")
	case 'n':
		return at(text, i, prefixShape, "npm_")
	case 'p':
		return at(text, i, prefixShape, "pypi-")
	case 'h':
		return at(text, i, prefixShape, "hvs.") | at(text, i, hookShape, "hooks.slack.com")
	case 'd':
		return at(text, i, prefixShape, "dop_v1_") | at(text, i, hookShape, "discord")
	case 'a':
		return at(text, i, hookShape, "api.telegram.org")
	case 'b', 'B':
		if folded(text, i, "bearer") || folded(text, i, "basic") {
			return schemeShape
		}
	}
	return 0
}

// at is found if one of the words stands at i.
func at[T string | []byte](text T, i int, found shape, words ...string) shape {
	for _, w := range words {
		if len(text)-i >= len(w) && string(text[i:i+len(w)]) == w {
			return found
		}
	}
	return 0
}

// folded tells whether a word in lower case stands at i, in any case.
func folded[T string | []byte](text T, i int, word string) bool {
	if len(text)-i < len(word) {
		return false
	}
	for n := range len(word) {
		if text[i+n]|0x20 != word[n] {
			return false
		}
	}
	return true
}

// shapesIn is which tokens may be in a text.
func shapesIn(text string) (all shape) {
	for i := 0; i+1 < len(text); i++ {
		if starts[pairOf(text[i], text[i+1])]&shapeStart != 0 {
			all |= shapeAt(text, i)
		}
	}
	return all
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
		if strings.Contains(text, "@tcp(") || strings.Contains(text, "@udp(") || strings.Contains(text, "@unix(") {
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
	if len(text) < minToken {
		return dst
	}
	may := shapesIn(text)
	for _, s := range []struct {
		shape shape
		re    *regexp.Regexp
	}{{jwtShape, jwt}, {prefixShape, shapes}, {hookShape, hooks}} {
		if may&s.shape == 0 {
			continue
		}
		for _, m := range s.re.FindAllStringSubmatchIndex(text, -1) {
			dst = append(dst, group(m))
		}
	}
	if may&schemeShape == 0 {
		return dst
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

var endsURL = [256]bool{' ': true, '\t': true, '\r': true, '\n': true, '"': true, '\'': true, '`': true, '<': true, '>': true, '|': true, '\\': true}

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
		for end < len(text) && end-start < maxAuthority && !endsURL[text[end]] {
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
