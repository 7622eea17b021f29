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
// than sum stands for.
func (p *program) lookAtFile(ctx context.Context, path, sum string) {
	tick := time.NewTicker(lookAtFileEvery)
	defer tick.Stop()
	last, asked := sum, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := config.FileSum(path)
		again := p.isRefused() && time.Since(asked) > askAgainAfter
		if now == last && (now != sum || again) {
			sum, asked = now, time.Now()
			p.fileChanged(ctx)
		}
		last = now
	}
}

// fileChanged has a watcher at work begin anew, and one that stands by check what
// its next term begins with.
func (p *program) fileChanged(ctx context.Context) {
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
		// The term that began meanwhile has the one before.
	}
	p.askAnew()
}

// askAnew has the run at work, or the next one, look at the configuration.
func (p *program) askAnew() {
	select {
	case p.changed <- struct{}{}:
	default: // nobody has taken the last one yet
	}
}

func (p *program) isRefused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused != ""
}

// refuse says why a configuration is not taken over, once.
func (p *program) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text := err.Error(); text != p.refused {
		p.refused = text
		p.metrics.Reloaded(false)
		p.log.Error("the changed configuration is refused, the one before goes on", "error", err, "again", askAgainAfter.String())
	}
}

// take makes a configuration the one that holds.
func (p *program) take(cfg *config.Config) {
	p.metrics.Reloaded(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg, p.refused = cfg, ""
}

// nextRun waits, until ctx ends, for a configuration that another run can begin
// with.
func (t *term) nextRun(ctx context.Context) *run {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.changed:
		}
		cfg, err := t.load()
		var r *run
		if err == nil {
			r, err = t.rerun(ctx, cfg)
		}
		if ctx.Err() != nil {
			if r != nil {
				r.discard()
			}
			t.askAnew() // the term ended meanwhile
			return nil
		}
		if err != nil {
			t.refuse(err)
			continue
		}
		t.take(cfg)
		return r
	}
}

func (t *term) rerun(ctx context.Context, cfg *config.Config) (*run, error) {
	ch, err := t.newChain(cfg)
	if err != nil {
		return nil, err
	}
	r, err := t.newRun(ctx, cfg, ch)
	if err != nil {
		ch.Release()
	}
	return r, err
}
