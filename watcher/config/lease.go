package config

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Bounds of KW_LEASE_DURATION.
const (
	minLease = 3 * time.Second
	maxLease = 10 * time.Minute
)

// LeaseName is the Lease that the watchers of which one leads share; its namespace
// is empty where that of the kubeconfig's context, or of the Pod, is meant.
func (c *Config) LeaseName() (namespace, name string) {
	if namespace, name, ok := strings.Cut(c.Lease, "/"); ok {
		return namespace, name
	}
	return "", c.Lease
}

func (c *Config) validateLease() error {
	namespace, name := c.LeaseName()
	switch {
	case c.Lease == "":
		for _, name := range []string{"KW_LEASE_DURATION", "KW_LEASE_IDENTITY"} {
			if c.IsSet(name) {
				c.Notes = append(c.Notes, name+" has no effect without KW_LEASE")
			}
		}
		return nil
	case strings.Contains(c.Lease, "/") && len(validation.IsDNS1123Label(namespace)) > 0, len(validation.IsDNS1123Subdomain(name)) > 0:
		return fmt.Errorf("KW_LEASE: %.80q is no [namespace/]name", c.Lease)
	case strings.ContainsFunc(c.LeaseIdentity, unicode.IsControl) || len(c.LeaseIdentity) > 253:
		return errors.New("KW_LEASE_IDENTITY: bad value: want a name of up to 253 characters, such as that of the Pod")
	case c.LeaseDuration < minLease || c.LeaseDuration > maxLease || c.LeaseDuration%time.Second != 0:
		return errors.New("KW_LEASE_DURATION: bad value: want whole seconds, from 3s to 10m")
	}
	return nil
}
