// Command watcher is the minimal watcher: no function is linked in.
package main

import (
	"os"

	"github.com/kwatchman/kwatchman/watcher"
)

func main() { os.Exit(watcher.Main("watcher", nil)) }
