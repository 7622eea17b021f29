package watcher

import (
	"context"
	"time"

	"github.com/kwatchman/kwatchman/watcher/config"
)

const (
	// lookAtFileEvery is how often the configuration file is read again. It has to
	// be the same twice: an editor may be about to write it.
	lookAtFileEvery = time.Second
	// askAgainAfter is when a configuration that was refused is tried again: a
	// permission may have been given meanwhile.
	askAgainAfter = 30 * time.Second
)

// lookAtFile tells, until ctx ends, that the configuration file is another one
// than the one at work, whose sum is given.
func (p *process) lookAtFile(ctx context.Context, path, sum string) {
	tick := time.NewTicker(lookAtFileEvery)
	defer tick.Stop()
	last, asked := sum, time.Now() // as the file was read last; when it was tried last
	tried := sum
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := config.FileSum(path)
		steady := now == last
		last = now
		switch {
		case !steady:
		case now == p.config().FileSum: // at work, perhaps again after another one was refused or the file was away
			tried = "" // another one may be on its way to be taken
			p.forgive()
		case now != tried, p.isRefused() && time.Since(asked) > askAgainAfter:
			tried, asked = now, time.Now()
			p.fileChanged(ctx)
		}
	}
}

// fileChanged has a watcher at work begin anew, and one that stands by check what
// its next leadership begins with.
func (p *process) fileChanged(ctx context.Context) {
	if p.election != nil && !p.election.Leads() {
		cfg, err := p.load()
		if err == nil {
			_, err = p.precheck(ctx, cfg)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			p.refuse(err)
			return
		}
		p.take(cfg)
		p.log.Info("the configuration has changed")
		if !p.election.Leads() {
			return
		}
		// The leadership that began meanwhile has the one before.
	}
	p.askAnew()
}

// askAnew has the pipeline at work, or the next one, look at the configuration.
func (p *process) askAnew() {
	select {
	case p.changed <- struct{}{}:
	default: // nobody has taken the last one yet
	}
}

func (p *process) isRefused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused != ""
}

// forgive forgets that a configuration was refused: the file is the one at work.
func (p *process) forgive() {
	p.mu.Lock()
	was := p.refused
	p.refused = ""
	p.mu.Unlock()
	if was != "" {
		p.log.Info("the configuration file is again the one at work")
	}
}

// refuse says why a configuration is not taken over, once.
func (p *process) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text := err.Error(); text != p.refused {
		p.refused = text
		p.metrics.Reloaded(false)
		p.log.Error("the changed configuration is refused, the one before goes on", "error", err, "again", askAgainAfter.String())
	}
}

// take makes a configuration the one that holds.
func (p *process) take(cfg *config.Config) {
	p.metrics.Reloaded(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg, p.refused = cfg, ""
}

// nextPipeline waits, until ctx ends, for a configuration that another pipeline can
// begin with than current, which is at work.
func (l *leadership) nextPipeline(ctx context.Context, current *config.Config) *pipeline {
	p := l.process
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
		}
		cfg, err := p.load()
		if err == nil && cfg.FileSum == current.FileSum {
			continue // it was changed back meanwhile
		}
		var next *pipeline
		if err == nil {
			next, err = l.preparePipeline(ctx, cfg)
		}
		if ctx.Err() != nil {
			if next != nil {
				next.release()
			}
			p.askAnew() // the leadership ended meanwhile
			return nil
		}
		if err != nil {
			p.refuse(err)
			continue
		}
		p.take(cfg)
		return next
	}
}

func (l *leadership) preparePipeline(ctx context.Context, cfg *config.Config) (*pipeline, error) {
	ch, err := l.newChain(cfg)
	if err != nil {
		return nil, err
	}
	p, err := l.newPipeline(ctx, cfg, ch)
	if err != nil {
		ch.Release()
	}
	return p, err
}
