// Package tlsfiles makes TLS configurations from files, and follows them: a
// certificate that was renewed is used from the next connection on.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

// Files are the paths of PEM files; each may be empty.
type Files struct {
	Cert, Key string // of this side: the chain, its own certificate first, and its key
	CA        string // of who the other side has to be certified by
}

// every is how often the files are looked at, at most.
const every = time.Second

// Loader holds what the files say.
type Loader struct {
	files Files
	names Files // of the settings, for errors
	say   func(error)

	mu      sync.Mutex
	looked  time.Time
	stamp   string
	current *Loaded
	failed  bool // it has been said
}

// Loaded is what the files held at one time; it does not change.
type Loaded struct {
	Pair *tls.Certificate // nil: none
	Pool *x509.CertPool   // of the CA; nil: none
	CA   string           // the same as PEM
}

// Open reads the files; an error names the setting and not what a file holds.
// say is told, once, when files that changed cannot be used: what they held
// before stays in use.
func Open(files, names Files, say func(error)) (*Loader, error) {
	l := &Loader{files: files, names: names, say: say}
	if (files.Cert == "") != (files.Key == "") {
		return nil, fmt.Errorf("%s and %s: want both or none", names.Cert, names.Key)
	}
	l.stamp = l.stampNow()
	loaded, err := l.load()
	if err != nil {
		return nil, err
	}
	l.current, l.looked = loaded, time.Now()
	return l, nil
}

// Current is what the files hold now, or held when they last could be used.
func (l *Loader) Current() *Loaded {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.looked) < every {
		return l.current
	}
	l.looked = time.Now()
	stamp := l.stampNow()
	if stamp == l.stamp && !l.failed {
		return l.current
	}
	loaded, err := l.load()
	switch {
	case err != nil && !l.failed: // it may be half written; the next look tries again
		l.failed = true
		l.say(fmt.Errorf("%w; what was read before stays in use", err))
	case err == nil:
		l.stamp, l.current, l.failed = stamp, loaded, false
	}
	return l.current
}

// stampNow changes when a file does, also when a link leads elsewhere.
func (l *Loader) stampNow() (stamp string) {
	for _, path := range []string{l.files.Cert, l.files.Key, l.files.CA} {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			stamp += fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size(), "\n")
		} else {
			stamp += "gone\n"
		}
	}
	return stamp
}

func (l *Loader) load() (*Loaded, error) {
	out := &Loaded{}
	if l.files.Cert != "" {
		cert, err := read(l.names.Cert, l.files.Cert)
		if err != nil {
			return nil, err
		}
		key, err := read(l.names.Key, l.files.Key)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("%s and %s: want a certificate and its key as PEM: %w", l.names.Cert, l.names.Key, err)
		}
		out.Pair = &pair
	}
	if l.files.CA != "" {
		text, err := read(l.names.CA, l.files.CA)
		if err != nil {
			return nil, err
		}
		out.Pool = x509.NewCertPool()
		if !out.Pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: the file holds no PEM certificate", l.names.CA)
		}
		out.CA = string(text)
	}
	return out, nil
}

func read(name, path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", name, err)
	}
	return text, nil
}

// Server is the configuration of a server that has these files: with a CA it
// takes only clients with a certificate of it.
func (l *Loader) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := l.Current()
			cfg := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*now.Pair}, NextProtos: []string{"http/1.1"}}
			if now.Pool != nil {
				cfg.ClientCAs, cfg.ClientAuth = now.Pool, tls.RequireAndVerifyClientCert
			}
			return cfg, nil
		},
	}
}
