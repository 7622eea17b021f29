// Command log is the log function as a server of its own.
package main

import (
	"os"

	"github.com/kwatchman/kwatchman/functions/log"
	"github.com/kwatchman/kwatchman/serve"
)

func main() { os.Exit(serve.Main("log", log.Default(), log.New)) }
