package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kwatchman/kwatchman/internal/settings"
)

// AddFlags defines the flags, which are those of the original kwatchman.
func AddFlags(fs *pflag.FlagSet) {
	for _, s := range flags() {
		list := s.Field.Type.Kind() == reflect.Slice
		fs.VarP(&text{list: list}, flagName(s), s.Field.Tag.Get("short"), s.Field.Tag.Get("desc"))
	}
}

// flags lists the settings that have a flag.
func flags() []settings.Setting {
	all, err := settings.Of(Prefix, &Config{})
	if err != nil {
		panic(err) // a mistake in the program
	}
	return slices.DeleteFunc(all, func(s settings.Setting) bool { return flagName(s) == "" })
}

// flagName is the long name, without the dashes.
func flagName(s settings.Setting) string { return s.Field.Tag.Get("flag") }

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

func (c *Config) loadFlags(fs *pflag.FlagSet) error {
	for _, s := range flags() {
		given := fs.Lookup(flagName(s))
		if given == nil || !given.Changed {
			continue
		}
		name := "--" + flagName(s)
		if err := settings.Apply(c, map[string]any{s.Key: given.Value.String()}); err != nil {
			_, problem, _ := strings.Cut(err.Error(), ": ")
			return fmt.Errorf("%s: %s", name, problem)
		}
		c.given[s.Variable] = name
	}
	return nil
}
