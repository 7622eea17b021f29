package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kwatchman/kwatchman/internal/settings"
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
