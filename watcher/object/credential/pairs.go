package credential

import "strings"

// pairs finds values that stand behind a name: password=…, "password": "…",
// --password …, in configuration files of any kind, arguments and connection
// strings.
func (r *Rules) pairs(dst []Span, text string) []Span {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '=', ':':
			s, ok := r.pair(text, i)
			if ok {
				dst = append(dst, s)
				i = s.End - 1
			}
		case '-':
			if s, ok := r.flag(text, i); ok {
				dst = append(dst, s)
				i = s.End - 1
			}
		}
	}
	if strings.Contains(text, "</") {
		for _, m := range tag.FindAllStringSubmatchIndex(text, -1) {
			if IsValue(r.Name(text[m[2]:m[3]]), text[m[4]:m[5]]) {
				dst = append(dst, Span{m[4], m[5]})
			}
		}
	}
	return dst
}

// pair looks at a name and a value around the = or : at i.
func (r *Rules) pair(text string, i int) (Span, bool) {
	name, begin := nameBefore(text, i)
	if name == "" {
		return Span{}, false
	}
	strength := r.Name(name)
	if strength == No && (name == "value" || name == "Value") {
		strength = r.nameAbove(text, begin)
	}
	if strength == No {
		return Span{}, false
	}
	s, ok := valueAfter(text, i, begin)
	if !ok {
		return Span{}, false
	}
	if strength == Header {
		s = behindScheme(text, s)
	}
	return s, IsValue(strength, text[s.Start:s.End])
}

// nameBefore is the name that ends in front of i, perhaps in quotes, and where
// it begins.
func nameBefore(text string, i int) (name string, begin int) {
	if i > 0 && text[i-1] == ':' { // :=, ::
		i--
	}
	end := i
	for end > 0 && i-end < 8 && (text[end-1] == ' ' || text[end-1] == '\t') {
		end--
	}
	closing := end
	for end > 0 && (text[end-1] == '"' || text[end-1] == '\'' || text[end-1] == '\\' || text[end-1] == ']') {
		end--
	}
	begin = end
	if closing > end && (text[closing-1] == '"' || text[closing-1] == '\'') { // back to the quote that opens
		n := strings.LastIndexByte(text[max(0, end-maxName):end], text[closing-1])
		if n >= 0 {
			begin = max(0, end-maxName) + n + 1
			return text[begin:end], begin
		}
	}
	for begin > 0 && end-begin <= maxName && isNameByte(text[begin-1]) {
		begin--
	}
	return strings.Trim(text[begin:end], "-."), begin
}

func isNameByte(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c == '-' || c == '.' || c >= 0x80
}

// nameAbove is for the pairs of name and value that lists of variables have, on
// the line above that of the value.
func (r *Rules) nameAbove(text string, begin int) Strength {
	before := strings.TrimRight(text[max(0, begin-maxLine):begin], " \t\"'\\-{,")
	before = strings.TrimRight(before, "\n\r")
	line := before[strings.LastIndexByte(before, '\n')+1:]
	i := strings.LastIndex(line, "name")
	if i < 0 {
		return No
	}
	name := strings.Trim(line[i+len("name"):], " \t\"'\\:,\r")
	return r.Name(name)
}

// valueAfter is the value behind the = or : at i of a name that begins at begin.
func valueAfter(text string, i, begin int) (Span, bool) {
	start := i + 1
	if start < len(text) && (text[start] == '=' || text[start] == '>') { // ==, =>, :=
		start++
	}
	for start < len(text) && (text[start] == ' ' || text[start] == '\t') {
		start++
	}
	if start >= len(text) {
		return Span{}, false
	}
	quote := start
	for quote < len(text) && text[quote] == '\\' {
		quote++
	}
	if quote < len(text) && (text[quote] == '"' || text[quote] == '\'') {
		return quoted(text, start, quote+1)
	}
	if text[i] == ':' {
		switch text[start] {
		case '{', '[', '\n', '\r': // something that has names of its own
			return Span{}, false
		case '|', '>':
			return block(text, begin, endOfLine(text, start))
		case '/':
			if start == i+1 && strings.HasPrefix(text[start:], "//") {
				return Span{}, false
			}
		}
	}
	end := start + plain(text, start, begin)
	return Span{start, end}, end > start
}

// plain is how long a value without quotes is that begins at start.
func plain(text string, start, begin int) int {
	stop := " \t\n;&,\"'`)}]|<>\\"
	if startsLine(text, begin) { // the rest of the line is the value's
		value := text[start:endOfLine(text, start)]
		if n := strings.Index(value, " #"); n >= 0 {
			value = value[:n]
		}
		return len(strings.TrimRight(value, " \t\r"))
	}
	if n := strings.IndexAny(text[start:], stop); n >= 0 {
		return n
	}
	return len(text) - start
}

// maxLine is how far, in bytes, the beginning of a line is looked for, so that
// a long one takes no longer than several.
const maxLine = 512

func endOfLine(text string, from int) int {
	if n := strings.IndexByte(text[from:], '\n'); n >= 0 {
		return from + n
	}
	return len(text)
}

// startsLine tells whether the name at begin is the first on its line.
func startsLine(text string, begin int) bool {
	if strings.HasPrefix(text[begin:], "--") { // an argument
		return false
	}
	window := text[max(0, begin-maxLine):begin]
	n := strings.LastIndexByte(window, '\n')
	if n < 0 && len(window) == maxLine {
		return false
	}
	line := strings.TrimSpace(strings.TrimLeft(window[n+1:], " \t-"))
	return strings.Trim(line, "\"'") == "" && !strings.ContainsAny(line, "{") || line == "#"
}

// quoted is the value in quotes whose opening one, with the backslashes before
// it, lies from start to open.
func quoted(text string, start, open int) (Span, bool) {
	mark := text[start:open]
	if triple := text[open-1 : open]; strings.HasPrefix(text[open:], triple+triple) {
		mark, open = triple+triple+triple, open+2
		n := strings.Index(text[open:]+mark, mark)
		return Span{open, open + n}, n > 0
	}
	for at := open; at < len(text); {
		n := strings.Index(text[at:], mark)
		if n < 0 {
			break
		}
		at += n
		escapes := 0
		for at-1-escapes >= open && text[at-1-escapes] == '\\' {
			escapes++
		}
		// Of quotes that are escaped themselves the ends are escaped as often.
		if escapes == 0 || len(mark) == 1 && (mark == "'" || escapes%2 == 0) {
			return Span{open, at}, at > open
		}
		at += len(mark)
	}
	return Span{open, len(text)}, open < len(text) // cut off
}

// block is the lines below that are further in than the line of the name.
func block(text string, begin, lineEnd int) (Span, bool) {
	indent := begin - strings.LastIndexByte(text[:begin], '\n') - 1
	start, end := -1, lineEnd
	for at := lineEnd + 1; at < len(text); {
		next := endOfLine(text, at)
		line := text[at:next]
		content := strings.TrimLeft(line, " ")
		if strings.TrimSpace(content) != "" {
			if len(line)-len(content) <= indent {
				break
			}
			if start < 0 {
				start = at + len(line) - len(content)
			}
			end = at + len(strings.TrimRight(line, " \r"))
		}
		at = next + 1
	}
	return Span{start, end}, start >= 0
}

// flag looks at an argument with its value behind a blank: --password x.
func (r *Rules) flag(text string, i int) (Span, bool) {
	if i > 0 && !strings.ContainsRune(" \t\n\"'", rune(text[i-1])) {
		return Span{}, false
	}
	end := i
	for end < len(text) && isNameByte(text[end]) {
		end++
	}
	if end+1 >= len(text) || text[end] != ' ' || !strings.HasPrefix(text[i:], "--") {
		return Span{}, false
	}
	strength := r.Name(strings.Trim(text[i:end], "-"))
	if strength == No {
		return Span{}, false
	}
	start := end + 1
	stop := start + plain(text, start, i)
	if start < len(text) && (text[start] == '"' || text[start] == '\'') {
		s, ok := quoted(text, start, start+1)
		return s, ok && IsValue(strength, text[s.Start:s.End])
	}
	if start >= stop || text[start] == '-' {
		return Span{}, false
	}
	return Span{start, stop}, IsValue(strength, text[start:stop])
}

// behindScheme leaves Bearer or Basic in front of what comes behind it.
func behindScheme(text string, s Span) Span {
	value := text[s.Start:s.End]
	if word, rest, ok := strings.Cut(value, " "); ok && strings.TrimSpace(rest) != "" {
		return Span{s.End - len(strings.TrimLeft(rest, " ")), s.End}
	} else if strings.EqualFold(word, "basic") || strings.EqualFold(word, "bearer") {
		return Span{s.Start, s.Start}
	}
	return s
}

// Value is the part of a value under a name of that strength that is to be
// replaced; ok is false if nothing is.
func Value(s Strength, v string) (Span, bool) {
	if !IsValue(s, v) {
		return Span{}, false
	}
	whole := Span{0, len(v)}
	if s == Header {
		whole = behindScheme(v, whole)
	}
	return whole, whole.Start < whole.End && !strings.HasPrefix(v[whole.Start:], placeholder)
}
