package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/kwatchman/kwatchman/internal/settings"
	"github.com/kwatchman/kwatchman/internal/suggest"
)

// AddFlags defines the flags, which are those of the original kwatchman.
func AddFlags(fs *pflag.FlagSet) {
	for name, f := range flags() {
		fs.VarP(&text{list: name == "namespace"}, name, f.short, f.usage)
	}
}

// text is the value of a flag. Of a flag that is repeated the last value holds,
// but for a list, which grows.
type text struct {
	value string
	list  bool
}

func (t *text) String() string { return t.value }

// Type is what the help calls a value.
func (t *text) Type() string { return "string" }

// Set is called each time that the flag is given.
func (t *text) Set(v string) error {
	if t.list && t.value != "" {
		v = t.value + "," + v
	}
	t.value = v
	return nil
}

type flag struct{ field, setting, short, usage string }

// flags lists the settings that have a flag, by its long name.
func flags() map[string]flag {
	out := map[string]flag{}
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		f := t.Field(i)
		if name := f.Tag.Get("flag"); name != "" {
			setting := Prefix + "_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
			if name == "config" {
				setting = Prefix + "_CONFIG_FILE"
			}
			out[name] = flag{field: f.Name, setting: setting, short: f.Tag.Get("short"), usage: f.Tag.Get("desc")}
		}
	}
	return out
}

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

func (c *Config) loadFlags(fs *pflag.FlagSet) error {
	all := flags()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		given, f := fs.Lookup(name), all[name]
		if given == nil || !given.Changed {
			continue
		}
		if err := settings.Apply(c, map[string]any{f.field: given.Value.String()}); err != nil {
			_, problem, _ := strings.Cut(err.Error(), ": ")
			return fmt.Errorf("--%s: %s", name, problem)
		}
		c.given[f.setting] = "--" + name
	}
	return nil
}

// defaultFile is what the original read where nothing else was said.
const defaultFile = "config.toml"

// filePath is the file to read, or none: an empty setting says so.
func (c *Config) filePath() (string, error) {
	if c.IsSet("KW_CONFIG_FILE") {
		return c.ConfigFile, nil
	}
	switch _, err := os.Stat(defaultFile); {
	case err == nil:
		return defaultFile, nil
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	default:
		return "", fmt.Errorf("configuration file: %w", err)
	}
}

// resources puts together what to watch. A scope that a variable or a flag
// gives replaces that of the file.
func (c *Config) resources(f file) {
	if c.IsSet("KW_RESOURCES") || !f.hasResources {
		for _, name := range c.Resources {
			c.Watched = append(c.Watched, Resource{Name: name, Where: c.name("KW_RESOURCES")})
		}
	} else {
		c.Watched = f.resources
	}
	for i := range c.Watched {
		r := &c.Watched[i]
		if len(c.Namespace) > 0 {
			r.Namespaces = c.Namespace
		}
		if c.LabelSelector != "" {
			r.LabelSelector = c.LabelSelector
		}
		if c.FieldSelector != "" {
			r.FieldSelector = c.FieldSelector
		}
	}
}

// steps puts together the chain. Where a variable names the steps, the
// settings of the file still hold for those that it names too.
func (c *Config) steps(f file, functions []string) error {
	repeated := map[string]int{}
	for _, s := range f.steps {
		if s.URL == "" {
			repeated[strings.ToLower(s.Name)]++
		}
	}
	steps := f.steps
	if c.IsSet("KW_HANDLERS") || !f.hasSteps {
		steps = nil
		for i, h := range c.Handlers {
			s := Step{Where: fmt.Sprintf("KW_HANDLERS: entry %d", i+1)}
			if !c.IsSet("KW_HANDLERS") {
				s.Where = "default handler " + h
			}
			if strings.Contains(h, "/") || strings.Contains(h, ":") {
				s.URL = h
			} else {
				s.Name = h
			}
			if j := slices.IndexFunc(f.steps, func(o Step) bool { return s.Name != "" && o.URL == "" && strings.EqualFold(o.Name, s.Name) }); j >= 0 {
				s.Settings, s.SettingsWhere = f.steps[j].Settings, f.steps[j].Where
			}
			if repeated[strings.ToLower(s.Name)] > 1 {
				return fmt.Errorf("%s (%s): %s has settings for %d of them, and a name cannot tell which: leave %s out",
					s.Where, s.Name, c.ConfigFile, repeated[strings.ToLower(s.Name)], c.name("KW_HANDLERS"))
			}
			steps = append(steps, s)
		}
	}
	if c.Knative.Sink != "" {
		c.Knative.Replaces = c.IsSet("KW_HANDLERS") || f.hasSteps
		return nil
	}
	for i := range steps {
		steps[i].Repeated = repeated[strings.ToLower(steps[i].Name)] > 1
		if err := steps[i].check(functions); err != nil {
			return fmt.Errorf("%s%w", steps[i].Where, err)
		}
	}
	c.Steps = steps
	return nil
}

// check finds the function, whose name is written in any case, as the
// original's ignoreEvents is.
func (s *Step) check(functions []string) error {
	if s.URL != "" {
		return nil // validate looks at it
	}
	name := strings.ToLower(s.Name)
	switch {
	case slices.Contains(functions, name):
		s.Name = name
		return nil
	case len(functions) == 0:
		return errors.New(" is no URL: built-in functions are part of the all-in-one binary kwatchman, " +
			"here each is a URL such as http://diff:8080")
	}
	return fmt.Errorf(": unknown handler %s%s", suggest.Word(s.Name), suggest.Hint(name, functions))
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

// extensionName is what CloudEvents allows (spec 1.0, naming conventions).
var extensionName = regexp.MustCompile(`^[a-z0-9]+$`)

// ownAttributes are what the watcher itself says with each event.
var ownAttributes = []string{
	"id", "source", "type", "subject", "time", "specversion", "datacontenttype", "dataschema", "data",
	"cluster", "apiversion", "kind", "namespace", "name", "partitionkey", "via", "continue",
}

// overrides reads K_CE_OVERRIDES.
func overrides(v string) (map[string]string, error) {
	if v == "" {
		return nil, nil
	}
	var in struct{ Extensions map[string]string }
	if json.Unmarshal([]byte(v), &in) != nil {
		return nil, errors.New(`K_CE_OVERRIDES: bad value: want JSON such as {"extensions":{"name":"value"}}`)
	}
	for name, value := range in.Extensions {
		switch {
		case !extensionName.MatchString(name):
			return nil, fmt.Errorf("K_CE_OVERRIDES: extension %.40q: a name has lower-case letters and digits only", name)
		case slices.Contains(ownAttributes, name):
			return nil, fmt.Errorf("K_CE_OVERRIDES: extension %q belongs to the event and cannot be overridden", name)
		case strings.ContainsFunc(value, unicode.IsControl):
			return nil, fmt.Errorf("K_CE_OVERRIDES: extension %q holds a control character", name)
		}
	}
	return in.Extensions, nil
}
