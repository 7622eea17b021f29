package webhook

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	maxRedirects = 3
	maxHeader    = 64 << 10 // bytes of an answer's headers
)

// allowed are the hosts that requests may go to: those that are configured, or
// the one that stands in the URL.
func allowed(cfg Config) ([]string, error) {
	var out []string
	for _, h := range cfg.AllowHosts {
		h = strings.ToLower(strings.TrimSpace(h))
		if h == "" {
			continue
		}
		if strings.ContainsAny(h, "/ @") || strings.Contains(strings.TrimPrefix(h, "*."), "*") {
			return nil, fmt.Errorf("WEBHOOK_ALLOW_HOSTS: %.100q is no host: want a name, name:port or *.name", h)
		}
		out = append(out, h)
	}
	if len(out) > 0 {
		return out, nil
	}
	scheme, rest, ok := strings.Cut(cfg.URL, "://")
	host, _, _ := strings.Cut(rest, "/")
	if !ok || strings.Contains(scheme+host, "{{") {
		return nil, errors.New("WEBHOOK_ALLOW_HOSTS is not set: a template decides of the host in WEBHOOK_URL, so name those it may be")
	}
	u, err := url.Parse(scheme + "://" + host)
	if err != nil || u.Host == "" {
		return nil, errors.New("WEBHOOK_URL: bad value: want an absolute http or https URL")
	}
	return []string{strings.ToLower(u.Host)}, nil
}

// permitted tells whether a request may go to a URL.
func permitted(hosts []string, u *url.URL) bool {
	name, whole := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), strings.ToLower(u.Host)
	for _, h := range hosts {
		switch suffix, wild := strings.CutPrefix(h, "*"); {
		case wild && strings.HasSuffix(name, suffix) && len(name) > len(suffix):
			return true
		case h == name || h == whole || strings.Trim(h, "[]") == name:
			return true
		}
	}
	return false
}

// errLocal is the refusal of an address.
var errLocal = errors.New("the address is one of this machine or link-local: WEBHOOK_ALLOW_LOCAL=true allows it")

// local tells an address of this machine, or of its link only, where clouds keep
// the credentials of machines, in any of its forms.
func local(a netip.Addr) bool {
	if a = a.WithZone(""); a.Is4In6() {
		a = a.Unmap()
	}
	if nat64 := netip.MustParsePrefix("64:ff9b::/96"); nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	zero := netip.MustParsePrefix("0.0.0.0/8")
	switch a.String() { // where other clouds keep the credentials of machines
	case "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192":
		return true
	}
	return a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || zero.Contains(a)
}

// newClient reaches the hosts and nobody else. Addresses are looked at when they
// are dialled, so that no name can lead elsewhere.
func newClient(hosts []string, cfg Config) *http.Client {
	dialer := &net.Dialer{Timeout: cfg.Timeout, KeepAlive: 30 * time.Second}
	if !cfg.AllowLocal {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil || local(a.Addr()) {
				return errLocal
			}
			return nil
		}
	}
	return &http.Client{
		Timeout: cfg.Timeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			// Others turn a POST into a GET; and a credential goes to no other host.
			status := r.Response.StatusCode
			same := r.URL.Host == via[0].URL.Host && r.URL.Scheme == via[0].URL.Scheme && permitted(hosts, r.URL)
			if !same || len(via) > maxRedirects || status != http.StatusTemporaryRedirect && status != http.StatusPermanentRedirect {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}
