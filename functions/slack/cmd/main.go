// Command slack is the slack function as a server of its own.
package main

import (
	"os"

	"github.com/kwatchman/kwatchman/functions/slack"
	"github.com/kwatchman/kwatchman/serve"
)

func main() { os.Exit(serve.Main("slack", slack.Default(), slack.New)) }
