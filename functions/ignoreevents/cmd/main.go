// Command ignoreevents is the ignoreevents function as a server of its own.
package main

import (
	"os"

	"github.com/kwatchman/kwatchman/functions/ignoreevents"
	"github.com/kwatchman/kwatchman/serve"
)

func main() { os.Exit(serve.Main("ignoreevents", ignoreevents.Config{}, ignoreevents.New)) }
