package watcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/internal/pause"
	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/lease"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/plan"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// stopTimeout is the time that a stop gives to the changes in the queue;
// Kubernetes kills after 30 s.
const stopTimeout = 25 * time.Second

// epochExtension says in which term an event was sent, so that a receiver can
// tell one that is late.
const epochExtension = "epoch"

// term is a time in which this watcher works: all of its life, or as long as it
// holds the Lease. It has a state, and one run after the other.
type term struct {
	*program
	lease *lease.Term // nil: nobody else may lead
	state *state.State
	zip   *object.Compressor
	chain atomic.Pointer[chain.Chain] // of the run at work

	delivered, givenUp int64 // by the chains of earlier runs
}

// run is a configuration at work.
type run struct {
	term     *term
	cfg      *config.Config
	chain    *chain.Chain
	letters  letters
	follower *follower
}

func (p *program) newTerm(cfg *config.Config, l *lease.Term) (*term, error) {
	zip, err := object.NewCompressor()
	if err != nil {
		return nil, err
	}
	return &term{program: p, lease: l, zip: zip}, nil
}

// lost tells whether another watcher may lead.
func (t *term) lost() bool { return t.lease != nil && !t.lease.Holds() }

// lead works until ctx ends or it cannot go on. start is called when all is
// checked; what it returns is called at the end.
func (t *term) lead(ctx context.Context, cfg *config.Config, start func() (func(), error)) (err error) {
	// The chain and its functions come first: what is wrong with them leaves no file
	// behind.
	ch, err := t.newChain(cfg)
	if err != nil {
		return err
	}
	t.state, err = state.Open(state.Config{
		Dir: cfg.StateDir, Events: cfg.QueueEvents, Bytes: cfg.MaxQueueBytes(), Rules: cfg.Redaction, Compressor: t.zip, Logger: t.log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.state.Release()) }()
	r, err := t.firstRun(ctx, cfg, ch)
	if err != nil {
		return t.unlessLost(err)
	}
	defer func() { r.letters.close() }()
	stop, err := start()
	if err != nil {
		return err
	}
	defer stop()
	t.log.Info("starting", "version", Version, "server", r.follower.api.Host(), "cluster", cfg.ClusterName, "chain", ch.Steps(),
		"file", cfg.ConfigFile, "state", cfg.StateDir, "waiting", t.state.Waiting(), "deadLetter", r.letters.name(), "traces", t.tracer.Collector())
	r.say()
	if err := t.takeOver(ctx, r); err != nil {
		return t.unlessLost(err)
	}
	if err := r.follower.prepare(ctx); err != nil {
		return err
	}
	if t.lease != nil {
		t.lease.Publish(func() string { return t.state.Marks(t.lease.Epoch).Text(t.zip) })
	}
	for _, q := range t.state.Queue() {
		r.chain.Push(q)
	}
	defer t.current.Store(nil)
	r, err = t.work(ctx, r)
	return err
}

// unlessLost leaves out the error of what the loss of the Lease broke off.
func (t *term) unlessLost(err error) error {
	if t.lost() {
		return nil
	}
	return err
}

// newChain makes a chain of this term.
func (t *term) newChain(cfg *config.Config) (*chain.Chain, error) {
	return newChain(cfg, t.functions, t.zip, t.log, t.metrics, func(of *chain.Config) {
		of.Durable, of.Tracer = cfg.StateDir != "" || t.lease != nil, t.tracer
		if t.lease == nil {
			return
		}
		of.Holds = t.lease.Holds
		of.Extensions = maps.Clone(of.Extensions)
		if of.Extensions == nil {
			of.Extensions = map[string]string{}
		}
		of.Extensions[epochExtension] = strconv.FormatInt(t.lease.Epoch, 10)
	})
}

// Pauses and the patience with an API server that does not answer when a term
// begins, while no other watcher may lead.
const (
	reachPause    = time.Second
	reachPatience = time.Minute
)

// firstRun prepares the run that a term begins with.
func (t *term) firstRun(ctx context.Context, cfg *config.Config, ch *chain.Chain) (*run, error) {
	for began := time.Now(); ; {
		r, err := t.newRun(ctx, cfg, ch)
		switch {
		case err == nil:
			return r, nil
		case ctx.Err() != nil, t.lease == nil, time.Since(began) > reachPatience:
			ch.Release()
			return nil, err
		}
		t.log.Warn("the API server cannot be followed, trying again", "error", err)
		_ = pause.For(ctx, reachPause)
	}
}

// newRun checks a configuration and prepares a run with it, which changes
// nothing yet.
func (t *term) newRun(ctx context.Context, cfg *config.Config, ch *chain.Chain) (*run, error) {
	r := &run{term: t, cfg: cfg, chain: ch}
	var err error
	if r.letters, err = openDeadLetter(cfg, ch); err != nil {
		return nil, err
	}
	if err = recordTo(cfg, ch, t.log); err == nil {
		r.follower, err = t.reach(ctx, cfg)
	}
	if err != nil {
		r.letters.close()
		return nil, err
	}
	return r, nil
}

// reach asks the API server all that a start needs to know.
func (t *term) reach(ctx context.Context, cfg *config.Config) (*follower, error) {
	api, served, p, err := survey(ctx, cfg, followed(t.state))
	if err != nil {
		return nil, err
	}
	if err := permitted(ctx, cfg, api, p, t.log); err != nil {
		return nil, err
	}
	if err := selectable(ctx, cfg, api, p); err != nil {
		return nil, err
	}
	if cfg.ClusterName == "" {
		cfg.ClusterName = api.ClusterName(ctx, t.log)
	}
	if t.state.Durable() {
		if err := t.state.Claim(state.Cluster{Name: cfg.ClusterName, UID: api.ClusterUID(ctx)}); err != nil {
			return nil, err
		}
	}
	f := &follower{
		cfg: cfg, log: t.log, api: api, zip: t.zip, redactor: object.NewRedactor(t.state.Key(), cfg.Redaction), state: t.state,
		served: served, running: map[client.Place]*running{}, gone: map[client.Place]bool{}, trouble: make(chan struct{}, 1),
		metrics: t.metrics,
	}
	if cfg.Lease != "" {
		_, name := cfg.LeaseName()
		f.own = object.Key(leasePlace(cfg, api).Namespace, name)
	}
	f.pending.ready = t.ready
	return f, nil
}

// followed is the version that each place is, or was, followed in.
func followed(st *state.State) map[client.Place]schema.GroupVersionResource {
	out := map[client.Place]schema.GroupVersionResource{}
	kept, _ := st.Kept()
	for _, k := range kept {
		out[k.Place()] = k.Resource
	}
	return out
}

// plan is what a run watches, as far as it is served when it begins.
func (f *follower) plan() *plan.Plan {
	return plan.Of(f.cfg, f.served, followed(f.state))
}

// takeOver begins where the leader before has ended.
func (t *term) takeOver(ctx context.Context, r *run) error {
	if t.lease == nil {
		return nil
	}
	return (&takeover{follower: r.follower, began: time.Now()}).run(ctx, t.lease)
}

// say logs what the user should know of the configuration.
func (r *run) say() {
	if r.cfg.Knative.Replaces {
		r.term.log.Warn("K_SINK is set, so the configured handlers are not used")
	}
	for _, note := range r.cfg.Notes {
		r.term.log.Warn("configuration", "note", note)
	}
}

// errChanged ends the watching of a run because another one is ready.
var errChanged = errors.New("the configuration has changed")

// work lets one run follow another until ctx ends or it cannot go on, and gives
// the last.
func (t *term) work(ctx context.Context, r *run) (*run, error) {
	whole, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	t.chain.Store(r.chain)
	written := make(chan error, 1)
	go func() {
		err := t.state.Run(func(q *state.Queued) {
			t.chain.Load().Push(q)
			t.cpus.Busy()
		})
		if err != nil {
			fail(err)
		}
		written <- err
	}()
	for {
		t.current.Store(r)
		next, err := r.deliver(whole)
		if next == nil {
			return r, t.stopped(ctx, r, err, <-written)
		}
		t.count(r.chain)
		for _, item := range r.chain.Left() {
			next.chain.Push(item)
		}
		t.chain.Store(next.chain)
		r.letters.close()
		r = next
		if err := r.follower.prepare(ctx); err != nil {
			fail(err) // the next run ends at once, with this error
		}
		r.say()
	}
}

// stopped says how a term ended. failed is why the state was not written.
func (t *term) stopped(ctx context.Context, r *run, err, failed error) error {
	left := r.chain.Waiting()
	switch {
	case failed != nil && ctx.Err() != nil:
		t.log.Error("state not written, the next start repeats what it does not have", "error", failed)
	case left > 0 && t.lease != nil:
		t.log.Info("changes are left to the next leader", "changes", left)
	case left > 0 && t.state.Durable():
		t.log.Info("changes wait in the state for the next start", "changes", left)
	case left > 0:
		t.log.Error("changes lost", "error", fmt.Sprintf("%d changes were not delivered before the stop", left))
	}
	t.count(r.chain)
	t.log.Info("stopped", "delivered", t.delivered, "givenUp", t.givenUp)
	return err
}

// count adds what a chain that has ended came to.
func (t *term) count(ch *chain.Chain) {
	delivered, givenUp := ch.Counts()
	t.delivered += delivered
	t.givenUp += givenUp
}

// deliver follows and delivers until whole ends, a source cannot do its work,
// the state cannot be written, or another run is ready, which it gives. It first
// stops watching. Then what is in flight has its time to come to its end.
func (r *run) deliver(whole context.Context) (next *run, err error) {
	t := r.term
	following, end := context.WithCancelCause(whole)
	defer end(nil)
	delivery, breakOff := context.WithCancel(context.WithoutCancel(whole))
	defer breakOff()
	defer context.AfterFunc(whole, func() {
		if t.lost() {
			breakOff() // another watcher may send
		}
	})()
	delivered, looked := make(chan int, 1), make(chan struct{})
	go func() { delivered <- r.chain.Run(delivery) }()
	go func() {
		defer close(looked)
		if next = t.nextRun(following); next != nil {
			end(errChanged)
		}
	}()
	err = r.follower.follow(following)
	end(nil)
	<-looked
	t.health.ready.Store(false)
	if next != nil && err == nil && whole.Err() == nil {
		t.log.Info("the configuration has changed, going over to it", "waiting", t.state.Waiting())
		_ = t.state.Flush(delivery)
		r.chain.Leave()
		r.await(delivered, breakOff)
		return next, nil
	}
	if next != nil {
		next.discard()
	}
	if err == nil && whole.Err() != nil {
		err = cause(whole)
	}
	if isTerminal(os.Stderr) {
		_, _ = os.Stderr.WriteString("\n") // behind the ^C
	}
	t.log.Info("stopping", "waiting", t.state.Waiting())
	grace := time.AfterFunc(stopTimeout, breakOff)
	defer grace.Stop()
	_ = t.state.Flush(delivery) // what was seen reaches the chain; Run has the error
	r.chain.Close()
	<-delivered
	t.state.Close()
	return nil, err
}

// cause is why a context ended by itself; nil: somebody asked for it.
func cause(ctx context.Context) error {
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) || errors.Is(err, lease.ErrLost) {
		return nil
	}
	return err
}

// await waits for what is in flight while another chain is to go on. What is broken
// off is repeated.
func (r *run) await(delivered <-chan int, breakOff func()) {
	limit := time.NewTimer(stopTimeout)
	defer limit.Stop()
	for {
		select {
		case <-delivered:
			return
		case <-limit.C:
			r.term.log.Warn("an endpoint does not answer, going over without it: what it was asked is repeated", "after", stopTimeout.String())
			breakOff()
		}
	}
}

// discard ends a run that never began.
func (r *run) discard() {
	r.chain.Release()
	r.letters.close()
}
