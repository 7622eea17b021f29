// Command exec is the exec function as a server of its own.
package main

import (
	"os"

	"github.com/kwatchman/kwatchman/functions/exec"
	"github.com/kwatchman/kwatchman/serve"
)

func main() { os.Exit(serve.Main("exec", exec.Default(), exec.New)) }
