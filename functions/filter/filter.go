// Package filter is the function that lets continue what expressions in CEL,
// the Common Expression Language (https://cel.dev), say of an event, and stops
// everything else.
package filter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/seldom"
)

// Config is what filter reads from FILTER_*.
type Config struct {
	// Rule is one expression, a rule called "rule".
	Rule string `split_words:"true" desc:"expression in CEL that is true for what continues"`
	// Rules are several, each with a name: "name: expression", one a line. A line
	// that begins with a space goes on with the one before, one that begins with
	// # is a comment.
	Rules string `split_words:"true" desc:"several rules, one a line: name: expression"`
	// Match says how many have to be true.
	Match string `split_words:"true" desc:"all or any: how many rules have to be true"`
	// OnError says what happens to an event for which a rule cannot be
	// evaluated. Continue loses no change.
	OnError string `split_words:"true" desc:"continue, stop or fail: what happens where a rule cannot be evaluated"`
}

// Default is what holds where nothing is set.
func Default() Config { return Config{Match: "all", OnError: "continue"} }

// New compiles the rules and returns the function. A rule that does not compile
// or gives no bool is an error of one line that names it.
func New(cfg Config) (event.Handler, error) {
	f := &filter{}
	switch cfg.Match {
	case "", "all":
	case "any":
		f.any = true
	default:
		return nil, errors.New("FILTER_MATCH: bad value: want all or any")
	}
	switch f.onError = cfg.OnError; f.onError {
	case "":
		f.onError = "continue"
	case "continue", "stop", "fail":
	default:
		return nil, errors.New("FILTER_ON_ERROR: bad value: want continue, stop or fail")
	}
	named, err := parseRules(cfg)
	if err != nil {
		return nil, err
	}
	env, err := newEnv()
	if err != nil {
		return nil, err
	}
	for _, n := range named {
		r, err := compile(env, n)
		if err != nil {
			return nil, err
		}
		f.rules = append(f.rules, r)
		f.needs.add(r.needs)
	}
	return f.handle, nil
}

type filter struct {
	rules   []*rule
	any     bool
	onError string
	needs   needs       // of all rules
	failed  seldom.Line // that a rule cannot be evaluated
}

func (f *filter) handle(ctx context.Context, e event.Event) (*event.Event, error) {
	in, err := newInput(&e, f.needs)
	if err != nil {
		return nil, event.Permanent(err) // no other attempt reads it
	}
	var wrong error
	for _, r := range f.rules {
		holds, err := r.holds(ctx, in)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			wrong = fmt.Errorf("rule %s: %w", r.name, err)
			if !f.any {
				return f.cannotSay(ctx, &e, wrong)
			}
		case holds && f.any:
			return &e, nil
		case !holds && !f.any:
			return nil, event.Stop("rule " + r.name + " is false")
		}
	}
	switch {
	case !f.any:
		return &e, nil
	case wrong != nil:
		return f.cannotSay(ctx, &e, wrong)
	}
	return nil, event.Stop("no rule is true: " + f.names())
}

// cannotSay answers an event for which a rule gives neither true nor false.
func (f *filter) cannotSay(ctx context.Context, e *event.Event, err error) (*event.Event, error) {
	switch f.onError {
	case "stop":
		return nil, event.Stop(err.Error())
	case "fail":
		return nil, event.Permanent(err)
	}
	if f.failed.Due() {
		slog.WarnContext(ctx, "a rule cannot be evaluated, the event continues", "id", e.ID, "subject", e.Subject, "error", err)
	}
	return e, nil
}

func (f *filter) names() string {
	names := make([]string, len(f.rules))
	for i, r := range f.rules {
		names[i] = r.name
	}
	return strings.Join(names, ", ")
}
