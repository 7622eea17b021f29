// Package settings reads a Config struct from the environment, strictly: an
// unknown name or a bad value is an error of one line that never holds the
// value, which may be a secret.
package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kelseyhightower/envconfig"

	"github.com/kwatchman/kwatchman/internal/suggest"
)

// Load overlays the environment variables PREFIX_* on cfg, a pointer to a
// struct that already holds the defaults. The struct's fields are read by
// envconfig's rules (use split_words, no default or required tags).
func Load(prefix string, cfg any) error {
	names, err := Names(prefix, cfg)
	if err != nil {
		return err
	}
	if err := refuseUnknown(prefix, names); err != nil {
		return err
	}
	err = envconfig.Process(prefix, cfg)
	if bad, ok := errors.AsType[*envconfig.ParseError](err); ok {
		return fmt.Errorf("%s: %s", bad.KeyName, problem(bad))
	}
	return err
}

// explainer is an error that does not repeat the value it is about.
type explainer interface{ Explain() string }

// BadValue is what a Decode method of a setting returns: what is wanted,
// without the value that was given.
type BadValue string

func (b BadValue) Error() string { return string(b) }

// Explain is the text that may be shown.
func (b BadValue) Explain() string { return string(b) }

func problem(bad *envconfig.ParseError) string {
	var e explainer
	if errors.As(bad.Err, &e) {
		return e.Explain()
	}
	switch bad.TypeName {
	case "bool":
		return "bad value: want true or false"
	case "time.Duration":
		return "bad value: want a duration such as 500ms, 15s or 10m"
	case "int", "int64":
		return "bad value: want a whole number"
	}
	return "bad value: want " + bad.TypeName
}

// Names lists the environment variables that cfg reads.
func Names(prefix string, cfg any) ([]string, error) {
	if v := reflect.ValueOf(cfg); v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, envconfig.ErrInvalidSpecification
	}
	var names []string
	for _, f := range fieldsOf(cfg) {
		for _, tag := range []string{"default", "envconfig", "required"} {
			if _, ok := f.field.Tag.Lookup(tag); ok { // a mistake in the program
				return nil, fmt.Errorf("field %s has the tag %s: it would go over the file, read another's variable or refuse the file's value", f.field.Name, tag)
			}
		}
		names = append(names, variable(prefix, f.field.Name))
	}
	return names, nil
}

// variable is what envconfig calls the variable of a field with split_words.
// envconfig's own list is a template, and what links text/template is a fifth
// larger: the linker then keeps every method.
func variable(prefix, field string) string {
	name := prefix
	for _, word := range words(field) {
		name += "_" + strings.ToUpper(word)
	}
	return name
}

// Usage prints a line for each setting: name, the short flag if it has one, the
// text of the field's desc tag and the value that cfg holds as the default. more are further lines to align
// with them, name and text separated by a tab.
func Usage(w io.Writer, prefix string, cfg any, more ...string) error {
	if _, err := Names(prefix, cfg); err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, f := range fieldsOf(cfg) {
		short := ""
		if flag := f.field.Tag.Get("short"); flag != "" {
			short = ", -" + flag
		}
		_, _ = fmt.Fprintf(tw, "  %s%s\t%s%s\n", variable(prefix, f.field.Name), short, f.field.Tag.Get("desc"), defaultText(f.value)) // Flush tells of an error
	}
	for _, line := range more {
		_, _ = fmt.Fprintf(tw, "  %s\n", line) // Flush tells of an error
	}
	return tw.Flush()
}

// defaultText is a value as the environment would give it, in brackets.
func defaultText(v reflect.Value) string {
	if v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
		return ""
	}
	text := fmt.Sprint(v.Interface())
	if d, ok := v.Interface().(time.Duration); ok && d%time.Minute == 0 {
		text = strings.TrimSuffix(text, "0s")
	}
	if v.Kind() == reflect.Slice {
		text = strings.Join(strings.Fields(strings.Trim(text, "[]")), ",")
	}
	return " (" + text + ")"
}

func refuseUnknown(prefix string, names []string) error {
	known := map[string]bool{}
	for _, n := range names {
		known[n] = true
	}
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, prefix+"_") || known[name] || isServiceLink(name, value) {
			continue
		}
		if len(names) == 0 {
			return fmt.Errorf("unknown setting %s: there are no settings that start with %s_", name, prefix)
		}
		if near := nearest(prefix, name, names); near != "" {
			return fmt.Errorf("unknown setting %s: did you mean %s?", name, near)
		}
		return fmt.Errorf("unknown setting %s: want %s", name, strings.Join(names, ", "))
	}
	return nil
}

// nearest compares what comes after the prefix, which all names share.
func nearest(prefix, name string, names []string) string {
	var own []string
	for _, n := range names {
		own = append(own, strings.TrimPrefix(n, prefix+"_"))
	}
	if near := suggest.Nearest(strings.TrimPrefix(name, prefix+"_"), own); near != "" {
		return prefix + "_" + near
	}
	return ""
}

// Kubernetes gives every container variables for each Service of its
// namespace, so a Service called slack brings SLACK_SERVICE_HOST,
// SLACK_PORT=tcp://10.0.0.7:80 and SLACK_PORT_80_TCP_ADDR: no settings.
var (
	serviceLinkName = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)
	serviceLinkURL  = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

func isServiceLink(name, value string) bool {
	return serviceLinkName.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && serviceLinkURL.MatchString(value)
}
