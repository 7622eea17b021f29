package watcher

import (
	"fmt"

	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/deadletter"
)

// letters is the dead letter of a run, with what has to be closed.
type letters struct {
	chain.DeadLetter // nil: there is none
	close            func()
}

func (l letters) name() string {
	if l.DeadLetter == nil {
		return ""
	}
	return l.Name()
}

// openDeadLetter gives a chain the dead letter that is configured.
func openDeadLetter(cfg *config.Config, ch *chain.Chain) (letters, error) {
	l, err := deadLetter(cfg, ch)
	if err == nil {
		ch.SetDeadLetter(l.DeadLetter)
	}
	return l, err
}

func deadLetter(cfg *config.Config, ch *chain.Chain) (letters, error) {
	if u := cfg.DeadLetterURL(); u != "" {
		post, err := ch.NewPost(u)
		if err != nil {
			return letters{}, fmt.Errorf("KW_DEAD_LETTER: %w", err)
		}
		return letters{post, post.Close}, nil
	}
	path := cfg.DeadLetterFile()
	if path == "" {
		return letters{close: func() {}}, nil
	}
	file, err := deadletter.NewFile(path)
	if err != nil {
		return letters{}, err
	}
	return letters{file, func() {}}, nil
}
