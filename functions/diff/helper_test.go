package diff

import (
	"context"
	"sync"

	"github.com/kwatchman/kwatchman/event"
)

// standard is the policy without settings.
var standard = sync.OnceValue(func() *policy {
	p, err := newPolicy(Config{})
	if err != nil {
		panic(err)
	}
	return p
})

// handle is the function without settings.
func handle(ctx context.Context, e event.Event) (*event.Event, error) {
	return standard().handle(ctx, e)
}
