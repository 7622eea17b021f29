package watcher

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/lease"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// stopTimeout is the time that a stop gives to the changes in the queue;
// Kubernetes kills after 30 s.
const stopTimeout = 25 * time.Second

// pipeline is a configuration at work: the sources record changes in the state, the
// chain delivers them. Another configuration is another pipeline on the same state,
// which begins as the first one does: with what waits there.
type pipeline struct {
	leadership *leadership
	cfg        *config.Config
	chain      *chain.Chain
	deadLetter deadLetterSink
	sources    *sources
}

// newPipeline checks a configuration and prepares a pipeline with it, which changes
// nothing yet. The chain stays the caller's until there is no error.
func (l *leadership) newPipeline(ctx context.Context, cfg *config.Config, ch *chain.Chain) (*pipeline, error) {
	p := &pipeline{leadership: l, cfg: cfg, chain: ch}
	var err error
	if p.deadLetter, err = openDeadLetter(cfg, ch); err != nil {
		return nil, err
	}
	if err = recordTo(cfg, ch, l.process.log); err == nil {
		p.sources, err = l.reach(ctx, cfg)
	}
	if err != nil {
		p.deadLetter.close()
		return nil, err
	}
	return p, nil
}

// reach asks the API server all that a start needs to know.
func (l *leadership) reach(ctx context.Context, cfg *config.Config) (*sources, error) {
	log := l.process.log
	api, served, p, err := survey(ctx, cfg, followed(l.state))
	if err != nil {
		return nil, err
	}
	if err := permitted(ctx, cfg, api, p, log); err != nil {
		return nil, err
	}
	if err := selectable(ctx, cfg, api, p); err != nil {
		return nil, err
	}
	if cfg.ClusterName == "" {
		cfg.ClusterName = api.ClusterName(ctx, log)
	}
	if l.state.Durable() {
		if err := l.state.Claim(state.Cluster{Name: cfg.ClusterName, UID: api.ClusterUID(ctx)}); err != nil {
			return nil, err
		}
	}
	s := &sources{
		cfg: cfg, log: log, api: api, codec: l.codec, redactor: object.NewRedactor(l.state.Key(), cfg.Redaction), state: l.state,
		served: served, running: map[client.Place]*running{}, gone: map[client.Place]bool{}, trouble: make(chan struct{}, 1),
		metrics: l.process.metrics,
	}
	if cfg.Lease != "" {
		_, name := cfg.LeaseName()
		s.own = object.Key(leasePlace(cfg, api).Namespace, name)
	}
	s.initialSync.ready = l.process.ready
	return s, nil
}

// logNotes logs what the user should know of the configuration.
func (p *pipeline) logNotes() {
	log := p.leadership.process.log
	if p.cfg.Knative.Replaces {
		log.Warn("K_SINK is set, so the configured handlers are not used")
	}
	for _, note := range p.cfg.Notes {
		log.Warn("configuration", "note", note)
	}
}

// errChanged ends the watching of a pipeline because another one is ready.
var errChanged = errors.New("the configuration has changed")

// run follows and delivers until whole ends, a source cannot do its work, the state
// cannot be written, or another pipeline is ready, which it gives. It first stops
// watching. Then what is in flight has its time to come to its end.
func (p *pipeline) run(whole context.Context) (next *pipeline, err error) {
	l := p.leadership
	following, end := context.WithCancelCause(whole)
	defer end(nil)
	delivery, breakOff := context.WithCancel(context.WithoutCancel(whole))
	defer breakOff()
	if l.lease != nil { // another watcher may send: also during a stop
		defer context.AfterFunc(l.lease.Held(), breakOff)()
	}
	delivered, looked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(delivered)
		p.chain.Run(delivery)
	}()
	l.process.current.Store(p)
	l.state.Deliver(func(q *state.Queued) {
		p.chain.Push(q)
		l.process.cpus.Busy()
	})
	go func() {
		defer close(looked)
		if next = l.nextPipeline(following, p.cfg); next != nil {
			end(errChanged)
		}
	}()
	err = p.sources.follow(following)
	end(nil)
	<-looked
	l.process.health.ready.Store(false)
	if next != nil && err == nil && whole.Err() == nil {
		p.leave(delivery, delivered, breakOff)
		return next, nil
	}
	if next != nil {
		next.release()
	}
	if err == nil && whole.Err() != nil {
		err = cause(whole)
	}
	p.drain(delivery, delivered, breakOff)
	return nil, err
}

// leave ends what is in flight and leaves what waits to another pipeline.
func (p *pipeline) leave(delivery context.Context, delivered <-chan struct{}, breakOff func()) {
	l := p.leadership
	l.process.log.Info("the configuration has changed, going over to it", "waiting", l.state.Waiting())
	_ = l.state.Flush(delivery)
	l.state.Deliver(nil)
	p.chain.Leave()
	limit := time.NewTimer(stopTimeout)
	defer limit.Stop()
	select {
	case <-delivered:
	case <-limit.C:
		l.process.log.Warn("an endpoint does not answer, going over without it: what it was asked is repeated", "after", stopTimeout.String())
		breakOff()
		<-delivered
	}
}

// drain ends a pipeline that none follows: within stopTimeout it delivers what
// would end with the process.
func (p *pipeline) drain(delivery context.Context, delivered <-chan struct{}, breakOff func()) {
	l := p.leadership
	if isTerminal(os.Stderr) {
		_, _ = os.Stderr.WriteString("\n") // behind the ^C
	}
	l.process.log.Info("stopping", "waiting", l.state.Waiting())
	grace := time.AfterFunc(stopTimeout, breakOff)
	defer grace.Stop()
	_ = l.state.Flush(delivery) // what was seen reaches the chain; the state has the error
	p.chain.Close()
	<-delivered
	l.state.Deliver(nil)
}

// cause is why a context ended by itself; nil: somebody asked for it.
func cause(ctx context.Context) error {
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) || errors.Is(err, lease.ErrLost) {
		return nil
	}
	return err
}

// close ends what a pipeline that has run keeps open, and what metrics say of it
// alone.
func (p *pipeline) close(next *pipeline) {
	p.deadLetter.close()
	if next == nil {
		return
	}
	m, steps := p.leadership.process.metrics, next.chain.Steps()
	for _, step := range p.chain.Steps() {
		if !slices.Contains(steps, step) {
			m.ForgetStep(step)
		}
	}
	for resource := range p.sources.named() {
		if !next.sources.named()[resource] {
			m.ForgetResource(resource)
		}
	}
}

// release ends a pipeline that never ran.
func (p *pipeline) release() {
	p.chain.Release()
	p.deadLetter.close()
}
