package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kwatchman/kwatchman/internal/settings"
	"github.com/kwatchman/kwatchman/internal/suggest"
)

// file is a configuration file in the form of the original kwatchman: a list
// of resources and a list of handlers.
type file struct {
	resources    []Resource
	steps        []Step
	hasResources bool
	hasSteps     bool
	notes        []string
}

// readFile reads and checks a file. Keys are taken in any case, as the
// original took them.
func readFile(path string) (file, error) {
	var f file
	tree, err := parse(path)
	if err != nil {
		return f, err
	}
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		if key != "resource" && key != "handler" {
			return f, fmt.Errorf("%s: unknown key %s%s", path, suggest.Word(key), suggest.Hint(key, []string{"resource", "handler"}))
		}
	}
	f.hasResources, err = tables(path, tree, "resource", func(where string, table map[string]any) error {
		r, err := resourceOf(where, table)
		f.resources = append(f.resources, r)
		if _, ok := table["policies"]; ok {
			f.notes = append(f.notes, where+": policies has no effect")
		}
		return err
	})
	if err != nil {
		return f, err
	}
	f.hasSteps, err = tables(path, tree, "handler", func(where string, table map[string]any) error {
		s, err := stepOf(where, table)
		f.steps = append(f.steps, s)
		return err
	})
	return f, err
}

// tables calls each with every table of a list and tells whether there is one.
func tables(path string, tree map[string]any, key string, each func(where string, table map[string]any) error) (bool, error) {
	value, ok := tree[key]
	if !ok {
		return false, nil
	}
	list, ok := value.([]any)
	if !ok {
		return false, fmt.Errorf("%s: %s: want a list of tables, which TOML writes [[%s]]", path, key, key)
	}
	if len(list) == 0 {
		return false, fmt.Errorf("%s: %s: the list is empty: leave it out for the default", path, key)
	}
	for i, v := range list {
		where := fmt.Sprintf("%s: %s %d", path, key, i+1)
		table, ok := v.(map[string]any)
		if !ok {
			return false, fmt.Errorf("%s: want a table of keys and values", where)
		}
		if err := each(where, table); err != nil {
			return false, err
		}
	}
	return true, nil
}

func resourceOf(where string, table map[string]any) (Resource, error) {
	var keys struct {
		Kind          string
		Namespaces    []string
		LabelSelector string
		FieldSelector string
		// Policies is a key that the original took and that had no effect.
		Policies []string
	}
	if err := settings.Apply(&keys, table); err != nil {
		return Resource{}, fmt.Errorf("%s: %w", where, err)
	}
	if strings.TrimSpace(keys.Kind) == "" {
		return Resource{}, fmt.Errorf("%s: kind is missing: want a name such as kind = \"deployment\"", where)
	}
	if _, ok := table["namespaces"]; ok && len(trimmed(keys.Namespaces)) == 0 {
		return Resource{}, fmt.Errorf("%s: namespaces: the list is empty: leave it out for all", where)
	}
	return Resource{
		Name: strings.TrimSpace(keys.Kind), Where: where, Namespaces: trimmed(keys.Namespaces),
		LabelSelector: keys.LabelSelector, FieldSelector: keys.FieldSelector,
	}, nil
}

func stepOf(where string, table map[string]any) (Step, error) {
	var keys struct{ Name, URL string }
	s := Step{Where: where, Settings: maps.Clone(table)}
	for _, key := range []string{"name", "url"} {
		if value, ok := table[key]; ok {
			delete(s.Settings, key)
			if err := settings.Apply(&keys, map[string]any{key: value}); err != nil {
				return s, fmt.Errorf("%s: %w", where, err)
			}
		}
	}
	s.Name, s.URL = strings.TrimSpace(keys.Name), strings.TrimSpace(keys.URL)
	_, hasURL := table["url"]
	switch {
	case strings.ContainsAny(s.Name, "/:"):
		return s, fmt.Errorf("%s: name holds a URL: want url = \"…\" for a handler that runs elsewhere", where)
	case hasURL && s.URL == "":
		return s, fmt.Errorf("%s: url is empty: want http://… or https://…, or leave it out for a built-in function", where)
	case hasURL && len(s.Settings) > 0:
		key := slices.Sorted(maps.Keys(s.Settings))[0]
		if near := suggest.Nearest(key, []string{"name", "url"}); near != "" {
			return s, fmt.Errorf("%s: unknown key %s: did you mean %s?", where, suggest.Word(key), near)
		}
		return s, fmt.Errorf("%s: key %s: a handler with a url has its settings where it runs", where, suggest.Word(key))
	case hasURL:
		s.Where += ": url"
		return s, nil
	case s.Name == "":
		return s, fmt.Errorf("%s: name is missing: want the name of a function, or a url", where)
	}
	s.Where = fmt.Sprintf("%s (%s)", where, strings.Trim(suggest.Word(s.Name), `"`))
	return s, nil
}
