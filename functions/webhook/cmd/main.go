// Command webhook is the webhook function as a server of its own.
package main

import (
	"os"

	"github.com/kwatchman/kwatchman/functions/webhook"
	"github.com/kwatchman/kwatchman/serve"
)

func main() { os.Exit(serve.Main("webhook", webhook.Default(), webhook.New)) }
