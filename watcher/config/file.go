package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/viper"

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

// maxFile bounds a configuration file in bytes.
const maxFile = 1 << 20

var formats = []string{"toml", "yaml", "yml", "json"}

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
			return f, fmt.Errorf("%s: unknown key %.40q%s", path, key, suggest.Hint(key, []string{"resource", "handler"}))
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
	case hasURL && s.URL == "":
		return s, fmt.Errorf("%s: url is empty", where)
	case hasURL && len(s.Settings) > 0:
		key := slices.Sorted(maps.Keys(s.Settings))[0]
		if near := suggest.Nearest(key, []string{"name", "url"}); near != "" {
			return s, fmt.Errorf("%s: unknown key %.40q: did you mean %s?", where, key, near)
		}
		return s, fmt.Errorf("%s: key %.40q: a handler with a url has its settings where it runs", where, key)
	case hasURL:
		return s, nil
	case s.Name == "":
		return s, fmt.Errorf("%s: name is missing: want the name of a function, or a url", where)
	}
	s.Where = fmt.Sprintf("%s (%.40s)", where, s.Name)
	return s, nil
}

// parse gives the file as a tree with its keys in lower case.
func parse(path string) (map[string]any, error) {
	format := strings.ToLower(strings.TrimPrefix(filepath.Ext(path), "."))
	if !slices.Contains(formats, format) {
		return nil, fmt.Errorf("configuration file %s: want a name that ends in .toml, .yaml, .yml or .json", path)
	}
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", path, err)
	}
	v := viper.NewWithOptions(viper.KeyDelimiter("\x00")) // a dot in a key is a dot
	v.SetConfigType(format)
	if err := v.ReadConfig(bytes.NewReader(data)); err != nil {
		return nil, fmt.Errorf("%s: %s", path, syntax(format, data, err))
	}
	return v.AllSettings(), nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the user's own choice
	if err != nil {
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			err = p.Err // the path is said already
		}
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	if err == nil && len(data) > maxFile {
		err = errors.New("larger than 1 MiB")
	}
	return data, err
}

// syntax says where the file is broken, and nothing of what stands there: it
// may be a secret.
func syntax(format string, data []byte, err error) string {
	if d, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := d.Position()
		return fmt.Sprintf("broken TOML in line %d, column %d", line, column)
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		before := data[:min(int(s.Offset), len(data))]
		return fmt.Sprintf("broken JSON in line %d", 1+bytes.Count(before, []byte("\n")))
	}
	text := err.Error()
	if i := strings.Index(text, "yaml: line "); i >= 0 {
		number := text[i+len("yaml: line "):]
		number = number[:len(number)-len(strings.TrimLeft(number, "0123456789"))]
		return "broken YAML in line " + number
	}
	return "no " + strings.ToUpper(strings.Replace(format, "yml", "yaml", 1)) + " with the keys resource and handler"
}
