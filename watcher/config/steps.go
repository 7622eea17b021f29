package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kwatchman/kwatchman/internal/suggest"
)

// steps puts together the chain.
func (c *Config) steps(f file, functions []string) error {
	steps := f.steps
	if c.IsSet("KW_HANDLERS") || !f.hasSteps {
		var err error
		if steps, err = c.handlers(f); err != nil {
			return err
		}
	}
	if c.Knative.Sink != "" {
		c.Knative.Replaces = c.IsSet("KW_HANDLERS") || f.hasSteps
		return nil
	}
	for i := range steps {
		steps[i].Repeated = len(f.named(steps[i].Name)) > 1
		if err := steps[i].check(functions); err != nil {
			return fmt.Errorf("%s%w", steps[i].Where, err)
		}
	}
	c.Steps = steps
	return nil
}

// handlers makes steps of KW_HANDLERS, or of its default. The settings that the
// file has for a function still hold.
func (c *Config) handlers(f file) ([]Step, error) {
	var out []Step
	for i, h := range c.Handlers {
		s := Step{Where: fmt.Sprintf("%s: entry %d", c.Name("KW_HANDLERS"), i+1)}
		if !c.IsSet("KW_HANDLERS") {
			s.Where = "default handler " + h
		}
		if strings.ContainsAny(h, "/:") {
			s.URL = h
			out = append(out, s)
			continue
		}
		s.Name = h
		switch same := f.named(h); len(same) {
		case 0:
		case 1:
			s.Settings, s.SettingsWhere = same[0].Settings, same[0].Where
		default:
			return nil, fmt.Errorf("%s (%s): %s has settings for %d of them, and a name cannot tell which: leave %s out",
				s.Where, strings.ToLower(h), c.ConfigFile, len(same), c.Name("KW_HANDLERS"))
		}
		out = append(out, s)
	}
	return out, nil
}

// named gives the file's steps of a built-in function.
func (f *file) named(function string) []Step {
	var out []Step
	for _, s := range f.steps {
		if s.URL == "" && strings.EqualFold(s.Name, function) {
			out = append(out, s)
		}
	}
	return out
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
