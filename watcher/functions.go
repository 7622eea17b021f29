package watcher

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/settings"
	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/config"
)

// Function is a function that a binary has built in.
type Function struct {
	build    func(name string, step config.Step) (event.Handler, error)
	settings func(name string) map[string]string
}

// Settings are the variables that the function reads, each with its key in a
// configuration file.
func (f Function) Settings(name string) map[string]string { return f.settings(name) }

// BuiltIn makes a Function of a function's package: its defaults and its New.
func BuiltIn[C any](cfg C, build func(C) (event.Handler, error)) Function {
	return Function{
		build: func(name string, step config.Step) (event.Handler, error) {
			own := cfg
			if err := configure(&own, name, step); err != nil {
				return nil, err
			}
			h, err := build(own)
			if err != nil {
				return nil, inFile(err, &own, name, step)
			}
			return h, nil
		},
		settings: func(name string) map[string]string {
			own := cfg
			all, err := settings.Of(strings.ToUpper(name), &own)
			if err != nil {
				panic(err) // cfg is no struct: a mistake in the program
			}
			out := map[string]string{}
			for _, s := range all {
				out[s.Variable] = s.Key
			}
			return out
		},
	}
}

// inFile says of an error about a variable, which is what functions know, where
// the value really stands, or could.
func inFile(err error, cfg any, name string, step config.Step) error {
	all, badStruct := settings.Of(strings.ToUpper(name), cfg)
	if badStruct != nil || step.Settings == nil {
		return err
	}
	for _, s := range all {
		after, ok := strings.CutPrefix(err.Error(), s.Variable)
		if _, set := os.LookupEnv(s.Variable); ok && !set {
			key := s.Key
			if _, given := step.Settings[strings.ToLower(key)]; !given {
				key += " (or " + s.Variable + ")"
			}
			return fmt.Errorf("%s%s", key, after)
		}
	}
	return err
}

// configure reads the settings of a function: the environment over the file.
func configure(cfg any, name string, step config.Step) error {
	if err := settings.Apply(cfg, step.Settings); err != nil {
		if step.SettingsWhere != "" {
			return fmt.Errorf("%s: %w", step.SettingsWhere, err)
		}
		return err
	}
	prefix := strings.ToUpper(name)
	names, err := settings.Names(prefix, cfg)
	if err != nil {
		return err
	}
	if step.Repeated {
		for _, n := range names {
			if _, ok := os.LookupEnv(n); ok {
				return fmt.Errorf("%s is set too, and there are several handlers %s: "+
					"give each its settings in the file and unset the variable", n, name)
			}
		}
	}
	if err := settings.Load(prefix, cfg); err != nil {
		if strings.HasPrefix(err.Error(), "unknown setting") {
			return fmt.Errorf("%w (variables that start with %s_ are those of the function %s; unset what is not meant for it)", err, prefix, name)
		}
		return err
	}
	return nil
}

// targets makes the chain's targets of the configured steps: of the built-in
// functions only those are constructed that are named.
func targets(cfg *config.Config, functions map[string]Function) ([]chain.Target, error) {
	if len(cfg.Steps) == 0 && cfg.Knative.Sink == "" {
		return nil, errors.New("no handlers: set KW_HANDLERS to the chain's functions, or K_SINK")
	}
	var out []chain.Target
	for _, s := range cfg.Steps {
		if s.URL != "" {
			out = append(out, chain.Target{Name: s.Name, URL: s.URL})
			continue
		}
		h, err := functions[s.Name].build(s.Name, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Where, err)
		}
		out = append(out, chain.Target{Name: s.Name, Handler: h})
	}
	return out, nil
}

// names lists functions in order.
func names(functions map[string]Function) []string { return slices.Sorted(maps.Keys(functions)) }
