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
	"go.yaml.in/yaml/v4"

	"github.com/kwatchman/kwatchman/internal/suggest"
)

// maxFile bounds a configuration file in bytes.
const maxFile = 1 << 20

// parse gives a file as a tree with its keys in lower case. An error says where
// the file is broken and shows nothing of what stands there, which may be a
// secret.
func parse(path string) (map[string]any, error) {
	format := strings.ToLower(strings.TrimPrefix(filepath.Ext(path), "."))
	decode := map[string]func([]byte) (any, error){"toml": fromTOML, "yaml": fromYAML, "yml": fromYAML, "json": fromJSON}[format]
	if decode == nil {
		return nil, fmt.Errorf("configuration file %s: want a name that ends in .toml, .yaml, .yml or .json", path)
	}
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file %s: %w", path, err)
	}
	tree, err := decode(data)
	if err == nil {
		tree, err = lower(tree)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch root := tree.(type) {
	case map[string]any:
		return root, nil
	case nil: // empty, or nothing but comments
		return nil, nil
	}
	return nil, fmt.Errorf("%s: want a table with the keys resource and handler", path)
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Mode()&fs.ModeType != 0 && !info.IsDir() {
		return nil, errors.New("is no regular file") // a pipe would wait for who writes to it
	}
	var data []byte
	if err == nil {
		data, err = readAll(path)
	}
	if err == nil {
		if len(data) > maxFile {
			return nil, errors.New("larger than 1 MiB")
		}
		return bytes.TrimPrefix(data, []byte("\uFEFF")), nil // some editors begin with a byte order mark
	}
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err // the path is said already
	}
	return nil, err
}

func readAll(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func fromTOML(data []byte) (any, error) {
	var tree map[string]any
	err := toml.Unmarshal(data, &tree)
	if d, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := d.Position()
		if strings.Contains(d.Error(), "already") {
			return nil, fmt.Errorf("a key or table stands twice, in line %d", line)
		}
		return nil, fmt.Errorf("broken TOML in line %d, column %d", line, column)
	}
	if err != nil {
		return nil, errors.New("broken TOML")
	}
	return tree, nil
}

func fromYAML(data []byte) (any, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var tree, more any
	if err := decoder.Decode(&tree); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, yamlError(err)
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one YAML document, not several")
	}
	return tree, nil
}

// yamlError keeps of an error of the parser only what it says about the place.
func yamlError(err error) error {
	_, after, ok := strings.Cut(err.Error(), "line ")
	line := after[:len(after)-len(strings.TrimLeft(after, "0123456789"))]
	switch {
	case !ok || line == "":
		return errors.New("broken YAML")
	case strings.Contains(after, "mapping key") && strings.Contains(after, "already defined"):
		return fmt.Errorf("a key stands twice, in line %s", line)
	}
	return fmt.Errorf("broken YAML in line %s", line)
}

// fromJSON reads tokens, for json.Unmarshal takes the last of two equal keys.
func fromJSON(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	line := func(offset int64) int {
		return 1 + bytes.Count(data[:max(0, min(int(offset), len(data)))], []byte("\n"))
	}
	tree, err := jsonValue(decoder)
	if err == nil {
		if _, end := decoder.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	if key, ok := errors.AsType[repeatedKey](err); ok {
		return nil, fmt.Errorf("key %s stands twice, in line %d", suggest.Word(string(key)), line(decoder.InputOffset()))
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return nil, fmt.Errorf("broken JSON in line %d", line(s.Offset-1))
	}
	if err != nil {
		return nil, fmt.Errorf("broken JSON in line %d", line(decoder.InputOffset()))
	}
	return tree, nil
}

type repeatedKey string

func (repeatedKey) Error() string { return "a key stands twice" }

func jsonValue(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		object := map[string]any{}
		for decoder.More() {
			key, err := decoder.Token()
			if err != nil {
				return nil, err
			}
			name, _ := key.(string)
			if _, ok := object[name]; ok {
				return nil, repeatedKey(name)
			}
			if object[name], err = jsonValue(decoder); err != nil {
				return nil, err
			}
		}
		_, err = decoder.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for decoder.More() {
			v, err := jsonValue(decoder)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = decoder.Token()
		return list, err
	}
	return token, nil
}

// lower takes keys in any case, as the original did, but not two that are the
// same then.
func lower(tree any) (any, error) {
	switch v := tree.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			name := strings.ToLower(key)
			if _, ok := out[name]; ok {
				return nil, fmt.Errorf("key %s stands twice, in different cases", suggest.Word(key))
			}
			value, err := lower(v[key])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", strings.Trim(suggest.Word(name), `"`), err)
			}
			out[name] = value
		}
		return out, nil
	case map[any]any:
		return nil, errors.New("want words for keys")
	case []any:
		for i := range v {
			value, err := lower(v[i])
			if err != nil {
				return nil, fmt.Errorf("entry %d: %w", i+1, err)
			}
			v[i] = value
		}
	}
	return tree, nil
}
