package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Knative is what Knative's SinkBinding sets in the environment.
type Knative struct {
	Sink       string
	Replaces   bool // a configured chain is not used
	Extensions map[string]string
	CACerts    string
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
