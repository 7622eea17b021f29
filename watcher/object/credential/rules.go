// Package credential finds passwords, tokens and private keys in names and
// texts that nobody has marked as secret. It only says where they are; what
// stands in their place is the caller's.
package credential

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The rules, by the names under which they are switched off.
const (
	Names       = "names"       // a value whose name says that it is one: DB_PASSWORD, apiKey
	PrivateKeys = "private-key" // a PEM block of a private key
	URLs        = "url"         // the password of a URL or of a data source name
	Tokens      = "token"       // what looks like a token by itself: a JWT, Bearer …, ghp_…
	all         = "all"
)

// All lists the rules.
func All() []string { return []string{Names, PrivateKeys, URLs, Tokens} }

// version is raised with every change of what the rules find, so that a state
// that was written with others is written anew.
const version = "1"

// Rules says what is a credential. The zero value finds everything that is
// built in; it may be used by several goroutines.
type Rules struct {
	off    map[string]bool
	more   []glob
	keep   []glob
	values []*regexp.Regexp // at most one
	text   string           // what was configured, for Fingerprint
}

// New reads the rules: off are rules to switch off, or all; more are names that
// hold credentials too and keep those that never do, with * for any characters;
// values is a regular expression (RE2) of texts that are credentials: its first
// group, or the whole. Names go without regard to case. Errors name the
// argument and never repeat it.
func New(off, more, keep []string, values string) (*Rules, error) {
	r := &Rules{off: map[string]bool{}}
	if len(off)+len(more)+len(keep)+len(values) > 0 {
		r.text = fmt.Sprintf("%q %q %q %q", off, more, keep, values)
	}
	for _, name := range off {
		if name = strings.ToLower(strings.TrimSpace(name)); name == "" {
			continue
		}
		if name != all && !slices.Contains(All(), name) {
			return nil, &Error{List: Off, What: "unknown rule: want " + strings.Join(append(All(), all), ", ")}
		}
		r.off[name] = true
	}
	for i, list := range [][]string{more, keep} {
		for _, text := range list {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			if strings.Trim(text, "*") == "" {
				return nil, &Error{List: []string{More, Keep}[i], What: "a name of nothing but * means every value"}
			}
			into := []*[]glob{&r.more, &r.keep}[i]
			*into = append(*into, glob(strings.ToLower(text)))
		}
	}
	if values != "" {
		re, err := regexp.Compile(values)
		if err != nil || re.MatchString("") {
			return nil, &Error{List: Values, What: "want a regular expression (RE2) that does not match an empty text"}
		}
		r.values = append(r.values, re)
	}
	return r, nil
}

// The arguments of New, as an Error names them.
const (
	Off    = "off"
	More   = "more"
	Keep   = "keep"
	Values = "values"
)

// Error is a rule that cannot be read.
type Error struct{ List, What string }

func (e *Error) Error() string { return e.What }

// Fingerprint is the same for rules that find the same.
func (r *Rules) Fingerprint() string {
	if r == nil || r.text == "" {
		return version
	}
	return version + " " + r.text
}

func (r *Rules) has(rule string) bool { return r == nil || !r.off[rule] && !r.off[all] }

// Idle tells whether nothing is looked for at all.
func (r *Rules) Idle() bool {
	return r != nil && len(r.more) == 0 && len(r.values) == 0 && !slices.ContainsFunc(All(), r.has)
}

// glob is a name in lower case with * for any characters.
type glob string

func (g glob) matches(name string) bool {
	parts := strings.Split(string(g), "*")
	if len(parts) == 1 {
		return name == string(g)
	}
	name, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return strings.HasSuffix(name, parts[len(parts)-1])
}

func anyMatches(globs []glob, name string) bool {
	return slices.ContainsFunc(globs, func(g glob) bool { return g.matches(name) })
}
