// Package tlsfiles makes TLS configurations from files, and follows them: a
// certificate that was renewed is used from the next connection on.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/kwatchman/kwatchman/internal/renewed"
)

// Files are the paths of PEM files; each may be empty.
type Files struct {
	Cert, Key string // of this side: the chain, its own certificate first, and its key
	CA        string // of who the other side has to be certified by
}

// Loader holds what the files say.
type Loader struct {
	*renewed.Files[*Loaded]
}

// Loaded is what the files held at one time; it does not change.
type Loaded struct {
	Pair *tls.Certificate // nil: none
	Pool *x509.CertPool   // of the CA; nil: none
	CA   string           // the same as PEM
}

// Open reads the files; an error names the setting and not what a file holds.
// say is told when files that changed cannot be used: what they held before stays
// in use.
func Open(files, names Files, say func(error)) (*Loader, error) {
	if (files.Cert == "") != (files.Key == "") {
		return nil, fmt.Errorf("%s and %s: want both or none", names.Cert, names.Key)
	}
	loaded, err := renewed.Open([]string{files.Cert, files.Key, files.CA}, func() (*Loaded, error) { return load(files, names) }, say)
	if err != nil {
		return nil, err
	}
	return &Loader{loaded}, nil
}

func load(files, names Files) (*Loaded, error) {
	out := &Loaded{}
	if files.Cert != "" {
		cert, err := renewed.Read(names.Cert, files.Cert)
		if err != nil {
			return nil, err
		}
		key, err := renewed.Read(names.Key, files.Key)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("%s and %s: want a certificate and its key as PEM: %w", names.Cert, names.Key, err)
		}
		out.Pair = &pair
	}
	if files.CA != "" {
		text, err := renewed.Read(names.CA, files.CA)
		if err != nil {
			return nil, err
		}
		out.Pool = x509.NewCertPool()
		if !out.Pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: the file holds no PEM certificate", names.CA)
		}
		out.CA = string(text)
	}
	return out, nil
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
