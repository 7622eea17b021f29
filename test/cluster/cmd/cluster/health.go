package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// readyLimit is generous: a busy machine of two cores needs far less.
const readyLimit = 90 * time.Second

// client reaches the control plane's servers as its administrator.
type client struct{ http *http.Client }

func (d dir) client() (*client, error) {
	authority, err := os.ReadFile(d.pki("ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the certificates: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	admin, err := tls.LoadX509KeyPair(d.pki("admin.crt"), d.pki("admin.key"))
	if err != nil {
		return nil, fmt.Errorf("read the certificates: %w", err)
	}
	return &client{http: &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{admin}, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true,
		},
	}}, nil
}

// ok is nil if every URL answers 200.
func (c *client) ok(ctx context.Context, urls ...string) error {
	for _, url := range urls {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := c.http.Do(req)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, resp.Status)
		}
	}
	return nil
}

func etcdReady(p ports) []string { return []string{"http://" + local(p.EtcdClient) + "/health"} }

// apiServerReady asks for the namespaces too: the server makes them only after
// it has called itself ready, and a test may create objects at once.
func apiServerReady(p ports) []string {
	namespaces := p.server() + "/api/v1/namespaces/"
	return []string{p.server() + "/readyz", namespaces + "default", namespaces + "kube-system"}
}

// controllerManagerReady asks for the service account without which the API
// server refuses every pod.
func controllerManagerReady(p ports) []string {
	return []string{
		"https://" + local(p.ControllerManager) + "/healthz",
		p.server() + "/api/v1/namespaces/default/serviceaccounts/default",
	}
}

// await returns once all URLs answer 200. It fails with a diedError when p ends
// first.
func (c *client) await(ctx context.Context, p *process, urls []string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for {
		err := c.ok(ctx, urls...)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.died()
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return &diedError{name: p.name, reason: fmt.Sprintf("is not ready after %s (%v)", readyLimit, err), log: tail(p.log)}
			}
			return fmt.Errorf("wait for %s: interrupted", p.name)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
