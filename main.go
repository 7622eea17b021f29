// Command kwatchman is the watcher with the functions built in: each is called
// along the same chain, by the same contract, as one that runs elsewhere.
package main

import (
	"os"

	"github.com/kwatchman/kwatchman/functions/diff"
	"github.com/kwatchman/kwatchman/functions/exec"
	"github.com/kwatchman/kwatchman/functions/filter"
	"github.com/kwatchman/kwatchman/functions/ignoreevents"
	"github.com/kwatchman/kwatchman/functions/log"
	"github.com/kwatchman/kwatchman/functions/slack"
	"github.com/kwatchman/kwatchman/functions/webhook"
	"github.com/kwatchman/kwatchman/watcher"
)

// functions are all that are built in; a chain constructs those that it names.
func functions() map[string]watcher.Function {
	return map[string]watcher.Function{
		"diff":         watcher.BuiltIn(diff.Config{}, diff.New),
		"exec":         watcher.BuiltIn(exec.Default(), exec.New),
		"filter":       watcher.BuiltIn(filter.Default(), filter.New),
		"ignoreevents": watcher.BuiltIn(ignoreevents.Config{}, ignoreevents.New),
		"log":          watcher.BuiltIn(log.Default(), log.New),
		"slack":        watcher.BuiltIn(slack.Default(), slack.New),
		"webhook":      watcher.BuiltIn(webhook.Default(), webhook.New),
	}
}

func main() { os.Exit(watcher.Main("kwatchman", functions())) }
