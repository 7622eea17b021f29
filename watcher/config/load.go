package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kwatchman/kwatchman/internal/settings"
)

// Load reads flags, environment and file. functions are the names of those
// that the binary has built in; none is the watcher alone.
func Load(fs *pflag.FlagSet, functions []string) (*Config, error) {
	cfg := Default(len(functions) > 0)
	if err := cfg.loadEnvironment(); err != nil {
		return nil, err
	}
	if err := cfg.loadFlags(fs); err != nil {
		return nil, err
	}
	for _, list := range []*[]string{&cfg.Resources, &cfg.Namespace, &cfg.ExcludeNamespaces, &cfg.Handlers} {
		*list = trimmed(*list)
	}
	var f file
	path, err := cfg.filePath()
	if err != nil {
		return nil, err
	}
	if path != "" {
		cfg.FileSum = FileSum(path) // before it is read: what comes later is a change
		if f, err = readFile(path); err != nil && !cfg.IsSet("KW_CONFIG_FILE") {
			err = fmt.Errorf("%w (read because it is in the working directory: -c names another file, -c '' none)", err)
		}
		if err != nil {
			return nil, err
		}
		cfg.ConfigFile, cfg.Notes = path, f.notes
	}
	cfg.resources(f)
	if err := cfg.steps(f, functions); err != nil {
		return nil, err
	}
	return &cfg, cfg.validate()
}

func (c *Config) loadEnvironment() error {
	if err := settings.Load(Prefix, c); err != nil {
		return err
	}
	names, err := settings.Names(Prefix, c)
	if err != nil {
		return err
	}
	for _, n := range names {
		if _, ok := os.LookupEnv(n); ok {
			c.given[n] = n
		}
	}
	c.Knative.Sink = os.Getenv("K_SINK")
	c.Knative.CACerts = os.Getenv("K_CA_CERTS")
	c.Knative.Extensions, err = overrides(os.Getenv("K_CE_OVERRIDES"))
	return err
}

// defaultFile is what the original read where nothing else was said.
const defaultFile = "config.toml"

// filePath is the file to read, or none: an empty setting says so.
func (c *Config) filePath() (string, error) {
	if c.IsSet("KW_CONFIG_FILE") {
		return c.ConfigFile, nil
	}
	switch _, err := os.Lstat(defaultFile); {
	case err == nil:
		return defaultFile, nil
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	default:
		return "", fmt.Errorf("configuration file: %w", err)
	}
}

// FileSum stands for the content of a file: it is another one where that is.
func FileSum(path string) string {
	data, err := read(path)
	if err != nil {
		return "not readable"
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// resources puts together what to watch. A scope that a variable or a flag
// gives replaces that of the file: an empty flag too, for which there is no
// other reason to give it, but no empty variable, as templates leave behind.
func (c *Config) resources(f file) {
	if c.IsSet("KW_RESOURCES") || !f.hasResources {
		for _, name := range c.Resources {
			c.Watched = append(c.Watched, Resource{Name: name, Where: c.Name("KW_RESOURCES")})
		}
	} else {
		c.Watched = f.resources
	}
	for i := range c.Watched {
		r := &c.Watched[i]
		if len(c.Namespace) > 0 || c.flagged("KW_NAMESPACE") {
			r.Namespaces = c.Namespace
		}
		if c.LabelSelector != "" || c.flagged("KW_LABEL_SELECTOR") {
			r.LabelSelector = c.LabelSelector
		}
		if c.FieldSelector != "" {
			r.FieldSelector = c.FieldSelector
		}
	}
}

// trimmed allows "a, b" and a comma at the end.
func trimmed(list []string) []string {
	var out []string
	for _, v := range list {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}
