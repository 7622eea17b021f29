package chain

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/kwatchman/kwatchman/internal/tlsfiles"
)

// newHTTPClient makes one attempt a call: waiting and trying again belong to
// the queue, where a waiting change holds no worker. Each step has its own
// client, because a failed call closes the idle connections of its client.
func newHTTPClient(transport http.RoundTripper) *retryablehttp.Client {
	client := retryablehttp.NewClient()
	client.RetryMax = 0
	client.Logger = nil // it would log whole URLs
	client.ErrorHandler = retryablehttp.PassthroughErrorHandler
	client.CheckRetry = func(context.Context, *http.Response, error) (bool, error) { return false, nil }
	client.HTTPClient = &http.Client{Transport: transport}
	return client
}

// newTransport reaches endpoints.
func newTransport(cfg Config) (*http.Transport, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = cfg.Concurrency
	transport.MaxResponseHeaderBytes = 256 << 10
	transport.WriteBufferSize = 32 << 10 // most events in one packet to the kernel
	transport.Proxy = proxy
	if cfg.CACerts != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(cfg.CACerts)) {
		return nil, errors.New("K_CA_CERTS: holds no PEM certificate")
	}
	if cfg.CACerts != "" || cfg.TLS != nil {
		transport.TLSClientConfig = clientTLS(cfg)
	}
	return transport, nil
}

// clientTLS is the configuration of a connection that is opened now.
func clientTLS(cfg Config) *tls.Config {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	extra := []string{cfg.CACerts}
	if cfg.TLS != nil {
		extra = append(extra, cfg.TLS.Current().CA)
		out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if pair := cfg.TLS.Current().Pair; pair != nil {
				return pair, nil
			}
			return &tls.Certificate{}, nil // the endpoint decides what to make of none
		}
	}
	if strings.Join(extra, "") != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		for _, pem := range extra {
			pool.AppendCertsFromPEM([]byte(pem)) // each by itself: one may not end with its line
		}
		out.RootCAs = pool
	}
	return out
}

// renewed is a transport that is made anew when the CA's file has changed.
type renewed struct {
	cfg Config

	mu      sync.Mutex
	loaded  *tlsfiles.Loaded
	current *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (r *renewed) RoundTrip(req *http.Request) (*http.Response, error) {
	return noRedirects{r.transport()}.RoundTrip(req)
}

func (r *renewed) transport() *http.Transport {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.cfg.TLS.Current(); now != r.loaded {
		old := r.current
		r.loaded, r.current = now, old.Clone()
		r.current.TLSClientConfig = clientTLS(r.cfg)
		old.CloseIdleConnections()
	}
	return r.current
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (r *renewed) CloseIdleConnections() { r.transport().CloseIdleConnections() }

// noRedirects makes a redirect an answer like any other: following it would
// turn the POST into a GET, and a broken Location would hide its status.
type noRedirects struct{ *http.Transport }

func (t noRedirects) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.Transport.RoundTrip(r)
	if resp != nil {
		resp.Header.Del("Location")
	}
	return resp, err
}

// proxy is the environment's; the error would repeat its URL, which may hold a
// password.
func proxy(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return nil, errors.New("the proxy in the environment is no URL")
	}
	return u, nil
}

// cause leaves out the URL that net/http puts in front of its errors, and says
// in plain words what is common.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.Is(err, context.Canceled):
		return errors.New("broken off")
	}
	if errors.Is(err, io.EOF) {
		return errors.New("connection closed without an answer")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Errorf("not reachable: %w", op.Err)
	}
	return err
}

// sanitize makes one short line of what an endpoint or the network said, without
// what of the step's URL may be a secret.
func (s *step) sanitize(text string) string {
	const most = 300
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.TrimSpace(s.hide.Replace(text)))
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return text
}

// hide takes out of a text what only the configuration knows of a URL: many an
// error page repeats the path that was asked for, and a webhook's path is its
// secret. Short words are no secrets, and hiding them would spoil the text.
func hide(u *url.URL) *strings.Replacer {
	var secrets []string
	add := func(shortest int, words ...string) {
		for _, w := range words {
			if len(w) >= shortest {
				secrets = append(secrets, w, url.QueryEscape(w))
			}
		}
	}
	add(8, u.String(), u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery)
	add(8, strings.Split(u.EscapedPath(), "/")...)
	add(8, strings.Split(u.Path, "/")...)
	for _, values := range u.Query() {
		add(4, values...)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		add(2, u.User.String(), password, basic)
		add(6, u.User.Username()) // no secret by itself, and a short one would spoil the text
	}
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // the longest match goes first
	var pairs []string
	for _, s := range secrets {
		pairs = append(pairs, s, "(hidden)")
	}
	return strings.NewReplacer(pairs...)
}
