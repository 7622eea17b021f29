package watcher

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kwatchman/kwatchman/internal/processors"
	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/lease"
	"github.com/kwatchman/kwatchman/watcher/metrics"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// process is the watcher as a process: what outlives a leadership and a
// configuration.
type process struct {
	load      func() (*config.Config, error) // reads the configuration again
	functions map[string]Function
	log       *slog.Logger
	metrics   *metrics.Metrics
	tracer    *tracing.Tracer
	health    *health
	cpus      *processors.Processors
	election  *lease.Election          // nil: this watcher is alone
	current   atomic.Pointer[pipeline] // at work; nil: none is
	changed   chan struct{}            // the configuration file is another one

	mu      sync.Mutex
	cfg     *config.Config // that holds
	refused string         // why the newest one does not
}

// watch checks everything that can be checked before the first event, and then
// watches, or stands by, until ctx ends.
func watch(ctx context.Context, cfg *config.Config, load func() (*config.Config, error), functions map[string]Function, tracer *tracing.Tracer, log *slog.Logger) error {
	p := &process{
		load: load, functions: functions, log: log, metrics: metrics.New(Version), tracer: tracer, cfg: cfg, changed: make(chan struct{}, 1),
	}
	p.health = &health{loops: []func(time.Time) string{p.stuck}, writable: p.writable}
	p.register()
	if cfg.ConfigFile != "" {
		p.metrics.Reloads()
	}
	if cfg.Lease != "" {
		return p.share(ctx, cfg)
	}
	l, err := newLeadership(p, nil)
	if err != nil {
		return err
	}
	return l.lead(ctx, cfg, func() (stop func(), err error) { return p.serve(ctx, cfg) })
}

// serve does what a process does beside its work, until the returned function
// is called.
func (p *process) serve(ctx context.Context, cfg *config.Config) (stop func(), err error) {
	stopHealth, err := serveHealth(ctx, cfg.MetricsAddr, p.metrics.Handler(), p.health, p.log)
	if err != nil {
		return nil, err
	}
	p.cpus = processors.New(processors.Config{Most: 2, Much: 64, Waiting: p.waiting}) // more than two gain little
	looking, cancel := context.WithCancel(ctx)
	var looks sync.WaitGroup
	if cfg.ConfigFile != "" {
		looks.Go(func() { p.lookAtFile(looking, cfg.ConfigFile, cfg.FileSum) })
	}
	return func() {
		cancel()
		looks.Wait()
		p.cpus.End()
		stopHealth()
	}, nil
}

// share takes part in the election of the one watcher that works.
func (p *process) share(ctx context.Context, cfg *config.Config) error {
	api, err := p.precheck(ctx, cfg)
	if err != nil {
		return err
	}
	_, name := cfg.LeaseName()
	namespace := leasePlace(cfg, api).Namespace
	p.election = lease.New(lease.Config{
		Client: api.REST, Namespace: namespace, Name: name, Identity: cmp.Or(cfg.LeaseIdentity, identity()), Duration: cfg.LeaseDuration, Logger: p.log,
	})
	p.health.standby = func() bool { return !p.election.Leads() }
	p.health.loops = append(p.health.loops, p.election.Stuck)
	p.metrics.Elects()
	p.metrics.Gauge("leader", "1: this watcher leads; 0: it stands by.", func() float64 {
		if p.election.Leads() {
			return 1
		}
		return 0
	})
	stop, err := p.serve(ctx, cfg)
	if err != nil {
		return err
	}
	defer stop()
	p.log.Info("looking at the Lease", "version", Version, "server", api.Host(), "lease", namespace+"/"+name, "file", cfg.ConfigFile, "state", cfg.StateDir)
	return p.election.Run(ctx, func(ctx context.Context, term *lease.Term) error {
		cfg := p.config()
		l, err := newLeadership(p, term)
		if err != nil {
			return err
		}
		return l.lead(ctx, cfg, func() (func(), error) { return func() {}, nil })
	})
}

// identity is this process's name in the Lease, and no other's.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "watcher"
	}
	return host + "_" + strings.ToLower(rand.Text()[:10])
}

// precheck checks all that a leadership would need, and leaves no trace.
func (p *process) precheck(ctx context.Context, cfg *config.Config) (*client.Client, error) {
	ch, _, err := assemble(cfg, p.functions, p.log, nil, nil, true)
	if err != nil {
		return nil, err
	}
	defer ch.Release()
	if cfg.StateDir != "" {
		found, err := state.Inspect(cfg.StateDir)
		if err != nil {
			return nil, err
		}
		if found.Locked {
			return nil, fmt.Errorf("KW_STATE_DIR: the state in %s is in use by another process: give each watcher a folder of its own", cfg.StateDir)
		}
	}
	api, _, plan, err := survey(ctx, cfg, nil)
	if err != nil {
		return nil, err
	}
	if err := permitted(ctx, cfg, api, plan, p.log); err != nil {
		return nil, err
	}
	return api, selectable(ctx, cfg, api, plan)
}

// config is the configuration that holds.
func (p *process) config() *config.Config {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := *p.cfg
	return &out
}

// What metrics and health ask of the pipeline that is at work, if one is.

func (p *process) register() {
	p.metrics.Queue(func() metrics.Queue {
		at := p.current.Load()
		if at == nil {
			return metrics.Queue{}
		}
		st := at.leadership.state
		return metrics.Queue{Events: st.Waiting(), Bytes: st.WaitingBytes(), Oldest: at.chain.Oldest()}
	})
	p.metrics.Gauge("state_bytes", "Bytes of the state: of its file, or of what is kept in memory.", func() float64 {
		if at := p.current.Load(); at != nil {
			return float64(at.leadership.state.Size())
		}
		return 0
	})
}

func (p *process) waiting() int {
	if at := p.current.Load(); at != nil {
		return at.leadership.state.Waiting()
	}
	return 0
}

func (p *process) stuck(now time.Time) string {
	at := p.current.Load()
	if at == nil {
		return ""
	}
	for _, stuck := range []func(time.Time) string{at.chain.Stuck, at.leadership.state.Stuck, at.sources.stuck} {
		if trouble := stuck(now); trouble != "" {
			return trouble
		}
	}
	return ""
}

func (p *process) writable() string {
	if at := p.current.Load(); at != nil {
		return at.leadership.state.Writable()
	}
	return ""
}

// ready is called when the first lists of a pipeline are done.
func (p *process) ready() {
	p.health.ready.Store(true)
	p.cpus.Calm()
	debug.FreeOSMemory() // the first lists leave the heap larger than it has to be
	p.log.Info("ready")
}
