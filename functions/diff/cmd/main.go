// Command diff is the diff function as a server of its own.
package main

import (
	"os"

	"github.com/kwatchman/kwatchman/functions/diff"
	"github.com/kwatchman/kwatchman/serve"
)

func main() { os.Exit(serve.Main("diff", diff.Config{}, diff.New)) }
