package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/object/credential"
)

// validate checks what can be checked without asking anybody.
func (c *Config) validate() error {
	if err := c.validateScope(); err != nil {
		return err
	}
	if err := c.validateTargets(); err != nil {
		return err
	}
	if err := c.redaction(); err != nil {
		return err
	}
	if err := c.validateLease(); err != nil {
		return err
	}
	for _, limit := range []struct {
		bad  bool
		text string
	}{
		{c.Concurrency < 1, "KW_CONCURRENCY: bad value: want at least 1"},
		{c.Concurrency > 1024, "KW_CONCURRENCY: bad value: want at most 1024"},
		{c.QueueEvents < 1, "KW_QUEUE_EVENTS: bad value: want at least 1"},
		{c.Timeout < 0, "KW_TIMEOUT: bad value: want 0 (the default) or more"},
		{c.RetryMax < 0, "KW_RETRY_MAX: bad value: want 0 (no limit) or more"},
		{c.RetryWaitMin < time.Millisecond, "KW_RETRY_WAIT_MIN: bad value: want at least 1ms"},
		{c.RetryWaitMax < c.RetryWaitMin, "KW_RETRY_WAIT_MAX: bad value: want at least KW_RETRY_WAIT_MIN, which is " + c.RetryWaitMin.String()},
		{strings.ContainsFunc(c.ClusterName, unicode.IsControl), "KW_CLUSTER_NAME: bad value: holds a control character"},
		{!validAddress(c.MetricsAddr), "KW_METRICS_ADDR: bad value: want an address such as :9090 or 127.0.0.1:9090, or nothing"},
	} {
		if limit.bad {
			return errors.New(limit.text)
		}
	}
	return nil
}

// redaction reads what is a credential; its error repeats no value.
func (c *Config) redaction() (err error) {
	c.Redaction, err = credential.New(c.RedactOff, c.RedactNames, c.RedactKeep, c.RedactValues)
	if bad, ok := errors.AsType[*credential.Error](err); ok {
		setting := map[string]string{
			credential.Off: "KW_REDACT_OFF", credential.More: "KW_REDACT_NAMES",
			credential.Keep: "KW_REDACT_KEEP", credential.Values: "KW_REDACT_VALUES",
		}[bad.List]
		return fmt.Errorf("%s: bad value: %w", setting, err)
	}
	return err
}

func validAddress(addr string) bool {
	if addr == "" {
		return true
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// validateTargets shows no value: it may be a webhook, which is a secret.
func (c *Config) validateTargets() error {
	endpoints := map[string]*url.URL{} // by the setting
	if text := c.DeadLetterURL(); text != "" {
		u, err := chain.ParseTarget(text)
		if err != nil {
			return errors.New("KW_DEAD_LETTER: is no URL: want http://host:port/path, https://host/path or the path of a file")
		}
		endpoints["KW_DEAD_LETTER"] = u
	}
	if c.Knative.Sink != "" {
		u, err := chain.ParseTarget(c.Knative.Sink)
		if err != nil {
			return errors.New("K_SINK: bad value: want a URL")
		}
		endpoints["K_SINK"] = u
		return c.validateToken(endpoints)
	}
	for _, s := range c.Steps {
		if s.URL == "" {
			continue
		}
		u, err := chain.ParseTarget(s.URL)
		if err != nil {
			return fmt.Errorf("%s %w", s.Where, err)
		}
		endpoints[s.Where] = u
	}
	return c.validateToken(endpoints)
}

// validateToken looks at where the token goes. Plain HTTP is not refused: in a
// cluster a mesh may encrypt it.
func (c *Config) validateToken(endpoints map[string]*url.URL) error {
	if c.TokenFile == "" {
		return nil
	}
	var plain []string
	for _, where := range slices.Sorted(maps.Keys(endpoints)) {
		u := endpoints[where]
		if u.User != nil {
			return fmt.Errorf("%s: the URL has a user, and KW_TOKEN_FILE is set: a request has one Authorization, want one of them", where)
		}
		if u.Scheme == "http" && !isLoopback(u.Hostname()) && !slices.Contains(plain, u.Host) {
			plain = append(plain, u.Host)
		}
	}
	if len(plain) > 0 {
		c.Notes = append(c.Notes, "KW_TOKEN_FILE: the token goes in the clear, unless the network encrypts it, to "+strings.Join(plain, ", "))
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func (c *Config) validateScope() error {
	if len(c.Watched) == 0 {
		return errors.New(c.Name("KW_RESOURCES") + ": names no resource")
	}
	if err := validNamespaces(c.Name("KW_NAMESPACE"), c.Namespace); err != nil {
		return err
	}
	if err := validNamespaces("KW_EXCLUDE_NAMESPACES", c.ExcludeNamespaces); err != nil {
		return err
	}
	if _, err := labels.Parse(c.LabelSelector); err != nil {
		return fmt.Errorf("%s: bad value: %w", c.Name("KW_LABEL_SELECTOR"), err)
	}
	if _, err := fields.ParseSelector(c.FieldSelector); err != nil {
		return fmt.Errorf("KW_FIELD_SELECTOR: bad value: %w", err)
	}
	for _, r := range c.Watched {
		if err := c.validateResource(r); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) validateResource(r Resource) error {
	if err := validNamespaces(r.Where+": namespaces", r.Namespaces); err != nil {
		return err
	}
	if len(c.NamespacesOf(r)) == 0 {
		return fmt.Errorf("KW_EXCLUDE_NAMESPACES: leaves nothing of %s", c.Of("KW_NAMESPACE", r.Where, "namespaces"))
	}
	if _, err := labels.Parse(r.LabelSelector); err != nil {
		return fmt.Errorf("%s: labelSelector: bad value: %w", r.Where, err)
	}
	if _, err := fields.ParseSelector(r.FieldSelector); err != nil {
		return fmt.Errorf("%s: fieldSelector: bad value: %w", r.Where, err)
	}
	return nil
}

func validNamespaces(where string, namespaces []string) error {
	for _, n := range namespaces {
		if len(validation.IsDNS1123Label(n)) > 0 {
			return fmt.Errorf("%s: %.63q is no name of a namespace", where, n)
		}
	}
	return nil
}
