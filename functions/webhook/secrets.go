package webhook

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

const (
	maxCredential  = 64 << 10 // bytes
	maxCredentials = 100      // that are remembered to be hidden
)

// secrets reads credentials from files each time, so that a rotated one is used
// at once, and hides all in what is shown.
type secrets struct {
	cfg Config

	mu   sync.Mutex
	seen map[string]string // by name
}

func (s *secrets) check() error {
	if s.cfg.Token != "" && s.cfg.TokenFile != "" {
		return errors.New("WEBHOOK_TOKEN and WEBHOOK_TOKEN_FILE are both set: want one of them")
	}
	if _, err := s.token(); err != nil {
		return err
	}
	if s.cfg.CredentialsDir == "" {
		return nil
	}
	if info, err := os.Stat(s.cfg.CredentialsDir); err != nil || !info.IsDir() {
		return errors.New("WEBHOOK_CREDENTIALS_DIR: is no folder")
	}
	return nil
}

func (s *secrets) token() (string, error) {
	if s.cfg.TokenFile == "" {
		return strings.TrimSpace(s.cfg.Token), nil
	}
	text, err := readCredential(s.cfg.TokenFile)
	if err != nil {
		return "", fmt.Errorf("WEBHOOK_TOKEN_FILE: %w", err)
	}
	return text, nil
}

// credential is what a template calls.
func (s *secrets) credential(name string) (string, error) {
	if s.cfg.CredentialsDir == "" {
		return "", errors.New("WEBHOOK_CREDENTIALS_DIR is not set")
	}
	if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) {
		return "", errors.New("credential: want the name of a file in WEBHOOK_CREDENTIALS_DIR")
	}
	text, err := readCredential(filepath.Join(s.cfg.CredentialsDir, name))
	if err != nil {
		return "", fmt.Errorf("credential %q: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.seen[name]; ok || len(s.seen) < maxCredentials {
		s.seen[name] = text
	}
	return text, nil
}

func readCredential(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", bare(err)
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxCredential+1))
	switch {
	case err != nil:
		return "", bare(err)
	case len(text) > maxCredential:
		return "", fmt.Errorf("longer than %d bytes", maxCredential)
	}
	return strings.TrimSpace(string(text)), nil
}

func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// hider gives a function that takes out of a text what only the configuration
// knows: an error page repeats the path that was asked for, and a webhook's path
// is its secret. Short words are no secrets, and hiding them would spoil the
// text.
func (s *secrets) hider(token string, r *request) func(string) string {
	var words []string
	add := func(shortest int, all ...string) {
		for _, w := range all {
			if len(w) >= shortest {
				words = append(words, w, url.QueryEscape(w), url.PathEscape(w), base64.StdEncoding.EncodeToString([]byte(w)))
			}
		}
	}
	add(4, token)
	s.mu.Lock()
	for _, v := range s.seen {
		add(4, v)
	}
	s.mu.Unlock()
	add(8, r.url.String(), r.url.RequestURI(), r.url.RawQuery)
	add(8, strings.Split(r.url.Path, "/")...)
	for _, values := range r.url.Query() {
		add(4, values...)
	}
	if r.url.User != nil {
		password, _ := r.url.User.Password()
		add(2, r.url.User.String(), password)
	}
	if auth := r.header.Get("Authorization"); auth != "" {
		add(4, auth)
		_, after, _ := strings.Cut(auth, " ")
		add(4, after)
	}
	slices.SortFunc(words, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // the longest match goes first
	pairs := make([]string, 0, 2*len(words))
	for _, w := range words {
		pairs = append(pairs, w, "(hidden)")
	}
	return strings.NewReplacer(pairs...).Replace
}
