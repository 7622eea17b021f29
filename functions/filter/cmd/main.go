// Command filter is the filter function as a server of its own.
package main

import (
	"os"

	"github.com/kwatchman/kwatchman/functions/filter"
	"github.com/kwatchman/kwatchman/serve"
)

func main() { os.Exit(serve.Main("filter", filter.Default(), filter.New)) }
