package watcher

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/deadletter"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// deadLetterSink is the dead letter of a pipeline, with what has to be closed.
type deadLetterSink struct {
	chain.DeadLetter // nil: there is none
	close            func()
}

func (l deadLetterSink) name() string {
	if l.DeadLetter == nil {
		return ""
	}
	return l.Name()
}

// openDeadLetter gives a chain the dead letter that is configured.
func openDeadLetter(cfg *config.Config, ch *chain.Chain) (deadLetterSink, error) {
	l, err := deadLetter(cfg, ch)
	if err == nil {
		ch.SetDeadLetter(l.DeadLetter)
	}
	return l, err
}

func deadLetter(cfg *config.Config, ch *chain.Chain) (deadLetterSink, error) {
	if u := cfg.DeadLetterURL(); u != "" {
		post, err := ch.NewPost(u)
		if err != nil {
			return deadLetterSink{}, fmt.Errorf("KW_DEAD_LETTER: %w", err)
		}
		return deadLetterSink{post, post.Close}, nil
	}
	path := cfg.DeadLetterFile()
	if path == "" {
		return deadLetterSink{close: func() {}}, nil
	}
	if err := notTheState(cfg, "KW_DEAD_LETTER", path); err != nil {
		return deadLetterSink{}, err
	}
	file, err := deadletter.NewFile(path)
	if err != nil {
		return deadLetterSink{}, err
	}
	return deadLetterSink{file, func() {}}, nil
}

// notTheState refuses a file that is the file of the state.
func notTheState(cfg *config.Config, setting, path string) error {
	if cfg.StateDir != "" && sameFile(path, filepath.Join(cfg.StateDir, state.FileName)) {
		return fmt.Errorf("%s: %s is the state itself: want another file", setting, path)
	}
	return nil
}

// sameFile tells whether two paths lead to one file, or would.
func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	if errA == nil && errB == nil {
		return os.SameFile(infoA, infoB)
	}
	a, errA = filepath.Abs(a)
	b, errB = filepath.Abs(b)
	return errA == nil && errB == nil && a == b
}
