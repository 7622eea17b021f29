// Package ignoreevents is the function that stops the actions nobody wants to
// hear of, such as every Delete; all others continue unchanged.
package ignoreevents

import (
	"context"
	"fmt"
	"strings"

	"github.com/kwatchman/kwatchman/event"
)

// Config is what ignoreevents reads from IGNOREEVENTS_*.
type Config struct {
	// Events are the actions to stop: Add, Update or Delete, in any case. None
	// stops nothing.
	Events []string `split_words:"true" desc:"actions that stop here, separated by commas: Add, Update, Delete"`
}

// New checks the actions of cfg and returns the function. An unknown action is
// an error that names those that exist.
func New(cfg Config) (event.Handler, error) {
	ignored := map[event.Action]bool{}
	for _, name := range cfg.Events {
		if name = strings.TrimSpace(name); name == "" {
			continue // a comma at the end
		}
		action, err := event.ParseAction(name)
		if err != nil {
			return nil, fmt.Errorf("IGNOREEVENTS_EVENTS: %w", err)
		}
		ignored[action] = true
	}
	return func(_ context.Context, e event.Event) (*event.Event, error) {
		if ignored[e.Action] {
			return nil, event.Stop(fmt.Sprintf("action %s is ignored", e.Action))
		}
		return &e, nil
	}, nil
}
