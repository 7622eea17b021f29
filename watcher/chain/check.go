package chain

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Checked is what Check found out about a step.
type Checked struct {
	Name  string // as logs call it
	Where string // "built in", "remote", or "sink"
	Err   error  // why it cannot be reached; one line without a secret
}

// checkTimeout bounds the connection to one endpoint.
const checkTimeout = 10 * time.Second

// Check connects to every endpoint, with the TLS handshake where its URL asks
// for it, and sends nothing.
func (c *Chain) Check(ctx context.Context) []Checked {
	var out []Checked
	for _, s := range c.steps {
		checked := Checked{Name: s.name, Where: "remote"}
		switch {
		case s.local != nil:
			checked.Where = "built in"
			out = append(out, checked)
			continue
		case s.sink:
			checked.Where = "sink"
		}
		if err := s.connect(ctx); err != nil {
			checked.Err = errors.New(s.sanitize(cause(err).Error()))
		}
		out = append(out, checked)
	}
	return out
}

func (s *step) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, nil)
	if err != nil {
		return err
	}
	through, err := proxy(req)
	if err != nil {
		return err
	}
	if through != nil { // what is behind it, only a request would tell
		return dial(ctx, through, nil)
	}
	return dial(ctx, req.URL, s.tls)
}

func dial(ctx context.Context, u *url.URL, cfg *tls.Config) error {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	address := net.JoinHostPort(u.Hostname(), port)
	var conn net.Conn
	var err error
	if u.Scheme == "https" {
		conn, err = (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", address)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return err
	}
	return conn.Close()
}
