package watcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/kwatchman/kwatchman/internal/pause"
	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/lease"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// epochExtension says in which leadership an event was sent, so that a receiver can
// tell one that is late.
const epochExtension = "epoch"

// leadership is a time in which this watcher works: all of its life, or as long as
// it holds the Lease. It has one state, and one pipeline after the other.
type leadership struct {
	process *process
	lease   *lease.Term // nil: nobody else may lead
	state   *state.State
	codec   *object.Compressor

	delivered, givenUp int64 // by the chains of pipelines that have ended
}

// newLeadership prepares one; term is nil where nobody else may lead.
func newLeadership(p *process, term *lease.Term) (*leadership, error) {
	codec, err := object.NewCompressor()
	if err != nil {
		return nil, err
	}
	return &leadership{process: p, lease: term, codec: codec}, nil
}

// lost tells whether another watcher may lead.
func (l *leadership) lost() bool { return l.lease != nil && !l.lease.Holds() }

// lead works until ctx ends or it cannot go on. start is called when all is
// checked; what it returns is called at the end.
func (l *leadership) lead(ctx context.Context, cfg *config.Config, start func() (func(), error)) (err error) {
	log := l.process.log
	// The chain and its functions come first: what is wrong with them leaves no file
	// behind.
	ch, err := l.newChain(cfg)
	if err != nil {
		return err
	}
	l.state, err = state.Open(state.Config{
		Dir: cfg.StateDir, Events: cfg.QueueEvents, Bytes: cfg.MaxQueueBytes(), Rules: cfg.Redaction, Compressor: l.codec, Logger: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.state.Close()) }()
	p, err := l.firstPipeline(ctx, cfg, ch)
	if err != nil {
		return l.unlessLost(err)
	}
	stop, err := start()
	if err != nil {
		p.release()
		return err
	}
	defer stop()
	log.Info("starting", "version", Version, "server", p.sources.api.Host(), "cluster", cfg.ClusterName, "chain", ch.Steps(),
		"file", cfg.ConfigFile, "state", cfg.StateDir, "waiting", l.state.Waiting(), "deadLetter", p.deadLetter.name(), "traces", l.process.tracer.Collector())
	p.logNotes()
	if err := l.begin(ctx, p); err != nil {
		p.release()
		return l.unlessLost(err)
	}
	return l.run(ctx, p)
}

// begin takes over from the leader before and works out where the first pipeline
// goes on.
func (l *leadership) begin(ctx context.Context, p *pipeline) error {
	if l.lease != nil {
		t := newTakeover(p.sources)
		var err error
		if p.sources.tookOver, err = t.run(ctx, l.lease); err != nil {
			return err
		}
	}
	if err := p.sources.prepare(ctx, nil); err != nil {
		return err
	}
	if l.lease != nil {
		l.lease.Publish(func() string { return l.state.Marks(l.lease.Epoch).Text(l.codec) })
	}
	return nil
}

// unlessLost leaves out the error of what the loss of the Lease broke off.
func (l *leadership) unlessLost(err error) error {
	if l.lost() {
		return nil
	}
	return err
}

// newChain makes a chain of this leadership.
func (l *leadership) newChain(cfg *config.Config) (*chain.Chain, error) {
	p := l.process
	return newChain(cfg, p.functions, l.codec, p.log, p.metrics, func(of *chain.Config) {
		of.Durable, of.Tracer = cfg.StateDir != "" || l.lease != nil, p.tracer
		if l.lease == nil {
			return
		}
		of.Holds = l.lease.Holds
		of.Extensions = maps.Clone(of.Extensions)
		if of.Extensions == nil {
			of.Extensions = map[string]string{}
		}
		of.Extensions[epochExtension] = strconv.FormatInt(l.lease.Epoch, 10)
	})
}

// Pauses and the patience with an API server that does not answer when a leadership
// begins, while no other watcher may lead.
const (
	reachPause    = time.Second
	reachPatience = time.Minute
)

// firstPipeline prepares the pipeline that a leadership begins with. It releases
// the chain if it cannot.
func (l *leadership) firstPipeline(ctx context.Context, cfg *config.Config, ch *chain.Chain) (*pipeline, error) {
	for began := time.Now(); ; {
		p, err := l.newPipeline(ctx, cfg, ch)
		switch {
		case err == nil:
			return p, nil
		case ctx.Err() != nil, l.lease == nil, time.Since(began) > reachPatience:
			ch.Release()
			return nil, err
		}
		l.process.log.Warn("the API server cannot be followed, trying again", "error", err)
		_ = pause.For(ctx, reachPause)
	}
}

// run lets one pipeline follow another until ctx ends or it cannot go on.
func (l *leadership) run(ctx context.Context, p *pipeline) error {
	whole, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	defer l.process.current.Store(nil)
	failed := make(chan struct{})
	defer func() { fail(nil); <-failed }()
	go func() {
		defer close(failed)
		select {
		case <-l.state.Failed():
			fail(l.state.Err())
		case <-whole.Done():
		}
	}()
	for {
		next, err := p.run(whole)
		l.count(p.chain)
		p.close(next)
		if next == nil {
			return l.stopped(ctx, p, err)
		}
		behind := p.sources.behind()
		if p = l.newest(whole, next); whole.Err() == nil {
			if err := p.sources.prepare(ctx, behind); err != nil {
				fail(err) // the pipeline ends at once, with this error
			}
		}
		p.logNotes()
	}
}

// newest is a pipeline of the file as it is now: what was in flight may have taken a
// while to come to its end, and an edit that is taken back meanwhile must cost
// nothing. Where the file of now cannot be taken, next goes on, and it is asked again.
func (l *leadership) newest(ctx context.Context, next *pipeline) *pipeline {
	p := l.process
	if next.cfg.ConfigFile == "" || config.FileSum(next.cfg.ConfigFile) == next.cfg.FileSum {
		return next
	}
	cfg, err := p.load()
	if err != nil {
		return next
	}
	newer, err := l.preparePipeline(ctx, cfg)
	if err != nil {
		return next
	}
	p.log.Info("the configuration has changed once more")
	p.take(cfg)
	next.release()
	return newer
}

// stopped says how a leadership ended.
func (l *leadership) stopped(ctx context.Context, p *pipeline, err error) error {
	log, left := l.process.log, p.chain.Waiting()
	switch failed := l.state.Err(); {
	case failed != nil && ctx.Err() != nil:
		log.Error("state not written, the next start repeats what it does not have", "error", failed)
	case left > 0 && l.lease != nil:
		log.Info("changes are left to the next leader", "changes", left)
	case left > 0 && l.state.Durable():
		log.Info("changes wait in the state for the next start", "changes", left)
	case left > 0:
		log.Error("changes lost", "error", fmt.Sprintf("%d changes were not delivered before the stop", left))
	}
	log.Info("stopped", "delivered", l.delivered, "givenUp", l.givenUp)
	return err
}

// count adds what a chain that has ended came to.
func (l *leadership) count(ch *chain.Chain) {
	delivered, givenUp := ch.Counts()
	l.delivered += delivered
	l.givenUp += givenUp
}
