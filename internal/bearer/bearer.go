// Package bearer sends and checks tokens in the header Authorization (RFC 6750).
// They are read from files that may be renewed.
package bearer

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/kwatchman/kwatchman/internal/renewed"
)

const (
	// longest is the most bytes of a token: an endpoint has to take it as a header.
	longest = 16 << 10
	// shortest is the least of one that a function takes, so that it cannot be guessed.
	shortest = 16
	// most is how many a function takes at once: two while one takes the place of the other.
	most = 16
)

// Token is the one that a client sends. The nil Token is none.
type Token struct {
	file *renewed.Files[string]
}

// Open reads a token; setting is what errors call the file. say is told when it
// has changed and cannot be used.
func Open(setting, path string, say func(error)) (*Token, error) {
	file, err := renewed.Open([]string{path}, func() (string, error) {
		tokens, err := read(setting, path)
		if err == nil && len(tokens) != 1 {
			err = fmt.Errorf("%s: the file holds several lines: want one, with the token", setting)
		}
		if err != nil {
			return "", err
		}
		return tokens[0], nil
	}, say)
	if err != nil {
		return nil, err
	}
	return &Token{file}, nil
}

// Sent is a token that went with a request; empty: none did.
type Sent string

// String hides it.
func (s Sent) String() string {
	if s == "" {
		return ""
	}
	return "set"
}

// GoString hides it from %#v, too.
func (s Sent) GoString() string { return s.String() }

// Send puts the token of now into a request's headers.
func (t *Token) Send(h http.Header) Sent {
	if t == nil {
		return ""
	}
	token := t.file.Current()
	h.Set("Authorization", "Bearer "+token)
	return Sent(token)
}

// Hide takes the token out of a text that may repeat the request, and its beginning,
// if the text ends there.
func (s Sent) Hide(text string) string {
	const hidden, tell = "(hidden)", 8
	if s == "" {
		return text
	}
	forms := []string{string(s), url.QueryEscape(string(s)), url.PathEscape(string(s)), base64.StdEncoding.EncodeToString([]byte(s))}
	slices.SortFunc(forms, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // the longest match goes first
	for _, form := range forms {
		text = strings.ReplaceAll(text, form, hidden)
	}
	for _, form := range forms {
		for n := min(len(form), len(text)); n >= tell; n-- {
			if rest, ok := strings.CutSuffix(text, form[:n]); ok {
				return rest + hidden
			}
		}
	}
	return text
}

// Tokens are those that a server takes. The nil Tokens take every request.
type Tokens struct {
	file *renewed.Files[[][sha256.Size]byte]
}

// OpenAll reads tokens, one a line, as Open reads one.
func OpenAll(setting, path string, say func(error)) (*Tokens, error) {
	file, err := renewed.Open([]string{path}, func() ([][sha256.Size]byte, error) {
		tokens, err := read(setting, path)
		if err != nil {
			return nil, err
		}
		if len(tokens) > most {
			return nil, fmt.Errorf("%s: the file holds more than %d tokens", setting, most)
		}
		var sums [][sha256.Size]byte
		for i, token := range tokens {
			if len(token) < shortest {
				return nil, fmt.Errorf("%s: token %d is shorter than %d characters: openssl rand -hex 32 makes one", setting, i+1, shortest)
			}
			sums = append(sums, sha256.Sum256([]byte(token)))
		}
		return sums, nil
	}, say)
	if err != nil {
		return nil, err
	}
	return &Tokens{file}, nil
}

// What Check finds.
var (
	ErrMissing = errors.New("the request has no token: want the header Authorization: Bearer and the token")
	ErrWrong   = errors.New("the token is not valid: another one, or one that is no longer taken")
)

// Check is nil if a request has one of the tokens. How long it takes says nothing
// about them.
func (t *Tokens) Check(h http.Header) error {
	if t == nil {
		return nil
	}
	given := h.Values("Authorization")
	if len(given) != 1 {
		return ErrMissing
	}
	scheme, token, _ := strings.Cut(given[0], " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return ErrMissing
	}
	sum, found := sha256.Sum256([]byte(token)), 0
	for _, want := range t.file.Current() {
		found |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	if found == 0 {
		return ErrWrong
	}
	return nil
}

// read gives the lines of a file that are not empty, of which there is one at
// least. The error holds nothing of them.
func read(setting, path string) ([]string, error) {
	text, err := renewed.Read(setting, path)
	if err != nil {
		return nil, err
	}
	var tokens []string
	for line := range strings.Lines(string(text)) {
		token := strings.TrimSpace(line)
		switch {
		case token == "":
			continue
		case len(token) > longest:
			return nil, fmt.Errorf("%s: a token is longer than %d bytes", setting, longest)
		case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
			return nil, fmt.Errorf("%s: a token holds a blank or a character that no header may have", setting)
		}
		tokens = append(tokens, token)
	}
	if len(tokens) == 0 {
		return nil, fmt.Errorf("%s: the file is empty: want a token", setting)
	}
	return tokens, nil
}
