package filter

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Bounds of what may be configured.
const (
	maxRules      = 100
	maxExpression = 16 << 10 // bytes
)

// named is an expression with its name and where it is configured.
type named struct{ name, expression, where string }

// ruleName is what may stand before an expression; an expression of its own
// hardly ever looks like that.
var ruleName = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9 _./-]{0,62}):(?:\s+|$)`)

// parseRules reads both settings.
func parseRules(cfg Config) ([]named, error) {
	var out []named
	if text := strings.TrimSpace(cfg.Rule); text != "" {
		out = append(out, named{"rule", text, "FILTER_RULE"})
	}
	for i, line := range strings.Split(cfg.Rules, "\n") {
		text := strings.TrimSpace(line)
		where := fmt.Sprintf("FILTER_RULES: line %d", i+1)
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		begin := ruleName.FindStringSubmatch(line)
		switch goesOn := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"); {
		case begin != nil:
			out = append(out, named{begin[1], strings.TrimSpace(line[len(begin[0]):]), where})
		case goesOn && len(out) > 0 && out[len(out)-1].where != "FILTER_RULE":
			out[len(out)-1].expression += "\n" + line
		default:
			return nil, fmt.Errorf("%s: want name: expression, or a space before what goes on with the line before", where)
		}
	}
	return out, check(out)
}

func check(all []named) error {
	if len(all) == 0 {
		return errors.New("FILTER_RULE is not set: want an expression in CEL such as namespace == 'production', or FILTER_RULES")
	}
	if len(all) > maxRules {
		return fmt.Errorf("FILTER_RULES: %d rules: want at most %d", len(all), maxRules)
	}
	seen := map[string]bool{}
	for _, n := range all {
		switch {
		case seen[n.name]:
			return fmt.Errorf("%s: a second rule %q: want names that differ", n.where, n.name)
		case strings.TrimSpace(n.expression) == "":
			return fmt.Errorf("%s: rule %q has no expression", n.where, n.name)
		case len(n.expression) > maxExpression:
			return fmt.Errorf("%s: rule %q is longer than %d bytes", n.where, n.name, maxExpression)
		}
		seen[n.name] = true
	}
	return nil
}
