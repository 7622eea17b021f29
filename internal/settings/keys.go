package settings

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kelseyhightower/envconfig"

	"github.com/kwatchman/kwatchman/internal/suggest"
)

// Apply sets fields of cfg, a pointer to a struct that Load could read, from
// the keys of a configuration file. A key is the field's name in any case:
// webhookURL for WebhookURL. An unknown key and a value of the wrong type are
// errors that hold the key and never the value.
func Apply(cfg any, values map[string]any) error {
	fields := fieldsOf(cfg)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		i := slices.IndexFunc(fields, func(f field) bool { return strings.EqualFold(f.key, key) })
		if i < 0 {
			if len(fields) == 0 {
				return fmt.Errorf("unknown key %s: there are none to set", suggest.Word(key))
			}
			return fmt.Errorf("unknown key %s%s", suggest.Word(key), suggest.Hint(key, Keys(cfg)))
		}
		if err := set(fields[i].value, values[key]); err != nil {
			return fmt.Errorf("%s: %w", fields[i].key, err)
		}
	}
	return nil
}

// Keys lists the keys that Apply takes, in camel case.
func Keys(cfg any) []string {
	var out []string
	for _, f := range fieldsOf(cfg) {
		out = append(out, f.key)
	}
	return out
}

// Setting is one field of a struct under the names that it has.
type Setting struct {
	Variable string // in the environment
	Key      string // in a configuration file
	Field    reflect.StructField
}

// Of lists the settings of a struct that Load and Apply read.
func Of(prefix string, cfg any) ([]Setting, error) {
	names, err := Names(prefix, cfg)
	if err != nil {
		return nil, err
	}
	fields := fieldsOf(cfg)
	if len(names) != len(fields) {
		return nil, fmt.Errorf("a struct of %d variables has %d keys", len(names), len(fields))
	}
	out := make([]Setting, len(names))
	for i, f := range fields {
		out[i] = Setting{Variable: names[i], Key: f.key, Field: f.field}
	}
	return out, nil
}

type field struct {
	key   string
	field reflect.StructField
	value reflect.Value
}

// fieldsOf lists the fields that envconfig reads too, in its order.
func fieldsOf(cfg any) []field {
	v := reflect.ValueOf(cfg).Elem()
	var out []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.IsExported() && f.Tag.Get("ignored") != "true" {
			key := cmp.Or(f.Tag.Get("key"), camelCase(f.Name)) // url is where a handler runs
			out = append(out, field{key, f, v.Field(i)})
		}
	}
	return out
}

// camelCase lowers the first word of a Go name: WebhookURL is webhookURL, URL
// is url.
func camelCase(name string) string {
	first := words(name)[0]
	return strings.ToLower(first) + strings.TrimPrefix(name, first)
}

// words splits a Go name as envconfig does: Webhook and URL, HTTP and Port.
func words(name string) []string {
	var out []string
	r := []rune(name)
	begin := 0
	for i := 1; i < len(r); i++ {
		afterLower := unicode.IsUpper(r[i]) && !unicode.IsUpper(r[i-1])
		lastOfAcronym := unicode.IsUpper(r[i]) && unicode.IsUpper(r[i-1]) && i+1 < len(r) && !unicode.IsUpper(r[i+1])
		if afterLower || lastOfAcronym {
			out = append(out, string(r[begin:i]))
			begin = i
		}
	}
	return append(out, string(r[begin:]))
}

func set(to reflect.Value, value any) error {
	if d, ok := to.Addr().Interface().(envconfig.Decoder); ok {
		text, ok := scalar(value)
		if !ok {
			return errors.New("bad value: want a word")
		}
		return d.Decode(text)
	}
	switch target := to.Addr().Interface().(type) {
	case *string:
		text, ok := value.(string)
		if !ok {
			return errors.New("bad value: want a string, in quotes")
		}
		*target = text
	case *[]string:
		list, err := stringList(value)
		if err != nil {
			return err
		}
		*target = list
	case *time.Duration:
		text, _ := value.(string)
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("bad value: want a duration such as \"500ms\", \"15s\" or \"10m\", in quotes")
		}
		*target = d
	default:
		return setNumber(to, value)
	}
	return nil
}

// setNumber sets a bool or a number.
func setNumber(to reflect.Value, value any) error {
	text, _ := scalar(value)
	switch to.Kind() {
	case reflect.Bool:
		b, ok := value.(bool)
		if !ok {
			return errors.New("bad value: want true or false")
		}
		to.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || to.OverflowInt(n) {
			return errors.New("bad value: want a whole number")
		}
		to.SetInt(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return errors.New("bad value: want a number")
		}
		to.SetFloat(n)
	default:
		return fmt.Errorf("a field of type %s cannot be set from a file", to.Type())
	}
	return nil
}

// stringList reads a list of strings, or one string with commas, as the
// environment has it.
func stringList(value any) ([]string, error) {
	if text, ok := value.(string); ok {
		return strings.Split(text, ","), nil
	}
	list, ok := value.([]any)
	out := make([]string, len(list))
	for i, v := range list {
		text, isText := v.(string)
		out[i], ok = text, ok && isText
	}
	if !ok {
		return nil, errors.New("bad value: want a list of strings")
	}
	return out, nil
}

func scalar(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v), true
	}
	return "", false
}
