package watcher

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/seldom"
	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/deadletter"
)

// recordTo has the events of a chain written to the file that is configured. A
// recording that fails withholds no event.
func recordTo(cfg *config.Config, ch *chain.Chain, log *slog.Logger) error {
	if cfg.Record == "" {
		return nil
	}
	file, err := recording(cfg)
	if err != nil {
		return err
	}
	var said seldom.Line
	ch.SetRecord(func(ctx context.Context, e *event.Event) {
		if err := file.Put(ctx, e); err != nil && said.Due() {
			log.WarnContext(ctx, "event not recorded", "id", e.ID, "file", file.Name(), "error", err)
		}
	})
	log.Info("recording", "file", file.Name())
	return nil
}

// recording checks that the file can be appended to and is nobody else's.
func recording(cfg *config.Config) (*deadletter.File, error) {
	name := cfg.Name("KW_RECORD")
	if box := cfg.DeadLetterFile(); box != "" && sameFile(cfg.Record, box) {
		return nil, fmt.Errorf("%s: %s is the dead letter: want another file", name, cfg.Record)
	}
	if err := notTheState(cfg, name, cfg.Record); err != nil {
		return nil, err
	}
	file, err := deadletter.NewRecording(cfg.Record)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return file, nil
}
