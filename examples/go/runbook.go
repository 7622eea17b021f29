// Command runbook puts a link to a runbook in front of the payload, by the object's
// kind and the annotation example.com/runbook of the manifest.
package main

import (
	"cmp"
	"context"
	"os"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/serve"
)

// Config is read from RUNBOOK_*.
type Config struct {
	Base string `desc:"where runbooks are"`
}

func newRunbook(cfg Config) (event.Handler, error) {
	return func(_ context.Context, e event.Event) (*event.Event, error) {
		manifest, err := event.DecodeManifest(e.Object)
		if err != nil {
			return nil, event.Permanent(err)
		}
		if manifest == nil {
			return nil, event.Stop("there is nothing to do about a Delete")
		}
		metadata, _ := manifest["metadata"].(map[string]any)
		annotations, _ := metadata["annotations"].(map[string]any)
		link, _ := annotations["example.com/runbook"].(string)
		text := "Runbook: " + cmp.Or(link, cfg.Base+"/"+e.Kind) + "\n\n" + e.Payload.Text()
		e.Payload = event.TextPayload("text/plain; charset=utf-8", text)
		return &e, nil
	}, nil
}

func main() { os.Exit(serve.Main("runbook", Config{Base: "https://example.com/runbooks"}, newRunbook)) }
