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

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/internal/bearer"
	"github.com/kwatchman/kwatchman/internal/processors"
	"github.com/kwatchman/kwatchman/internal/tlsfiles"
	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/lease"
	"github.com/kwatchman/kwatchman/watcher/metrics"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/plan"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// program is the watcher as a process: what outlives a term of leading and a
// configuration.
type program struct {
	load      func() (*config.Config, error) // reads the configuration again
	functions map[string]Function
	log       *slog.Logger
	metrics   *metrics.Metrics
	tracer    *tracing.Tracer
	health    *health
	cpus      *processors.Processors
	election  *lease.Election // nil: this watcher is alone
	current   atomic.Pointer[run]
	changed   chan struct{} // the configuration file is another one

	mu      sync.Mutex
	cfg     *config.Config // that holds
	refused string         // why the newest one does not
}

// watch checks everything that can be checked before the first event, and then
// watches, or stands by, until ctx ends.
func watch(ctx context.Context, cfg *config.Config, load func() (*config.Config, error), functions map[string]Function, tracer *tracing.Tracer, log *slog.Logger) error {
	p := &program{
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
	t, err := p.newTerm(cfg, nil)
	if err != nil {
		return err
	}
	return t.lead(ctx, cfg, func() (stop func(), err error) { return p.serve(ctx, cfg) })
}

// serve does what a process does beside its work, until the returned function
// is called.
func (p *program) serve(ctx context.Context, cfg *config.Config) (stop func(), err error) {
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
func (p *program) share(ctx context.Context, cfg *config.Config) error {
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
	return p.election.Run(ctx, func(ctx context.Context, l *lease.Term) error {
		cfg := p.config()
		t, err := p.newTerm(cfg, l)
		if err != nil {
			return err
		}
		return t.lead(ctx, cfg, func() (func(), error) { return func() {}, nil })
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

// precheck checks all that a term of leading would need, and leaves no trace.
func (p *program) precheck(ctx context.Context, cfg *config.Config) (*client.Client, error) {
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
func (p *program) config() *config.Config {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := *p.cfg
	return &out
}

// What metrics and health ask of the run that is at work, if one is.

func (p *program) register() {
	p.metrics.Queue(func() metrics.Queue {
		r := p.current.Load()
		if r == nil {
			return metrics.Queue{}
		}
		return metrics.Queue{Events: r.term.state.Waiting(), Bytes: r.term.state.WaitingBytes(), Oldest: r.chain.Oldest()}
	})
	p.metrics.Gauge("state_bytes", "Bytes of the state: of its file, or of what is kept in memory.", func() float64 {
		if r := p.current.Load(); r != nil {
			return float64(r.term.state.Size())
		}
		return 0
	})
}

func (p *program) waiting() int {
	if r := p.current.Load(); r != nil {
		return r.term.state.Waiting()
	}
	return 0
}

func (p *program) stuck(now time.Time) string {
	r := p.current.Load()
	if r == nil {
		return ""
	}
	for _, stuck := range []func(time.Time) string{r.chain.Stuck, r.term.state.Stuck, r.follower.stuck} {
		if trouble := stuck(now); trouble != "" {
			return trouble
		}
	}
	return ""
}

func (p *program) writable() string {
	if r := p.current.Load(); r != nil {
		return r.term.state.Writable()
	}
	return ""
}

// ready is called when the first lists of a run are done.
func (p *program) ready() {
	p.health.ready.Store(true)
	p.cpus.Calm()
	debug.FreeOSMemory() // the first lists leave the heap larger than it has to be
	p.log.Info("ready")
}

// connect asks the API server what it serves, which is the first question.
func connect(ctx context.Context, cfg *config.Config) (*client.Client, *client.Discovery, error) {
	api, err := client.Connect(cfg.Kubeconfig, "kwatchman/"+Version)
	if err != nil {
		return nil, nil, err
	}
	served, err := api.Discover(ctx, nil)
	return api, served, err
}

// survey finds what is configured among what the API server serves; current is
// what is watched already, see plan.Of.
func survey(ctx context.Context, cfg *config.Config, current map[client.Place]schema.GroupVersionResource) (*client.Client, *client.Discovery, *plan.Plan, error) {
	api, served, err := connect(ctx, cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	p := plan.Of(cfg, served, current)
	return api, served, p, p.Err()
}

func chainConfig(cfg *config.Config, steps []chain.Target, zip *object.Compressor, m *metrics.Metrics, log *slog.Logger) chain.Config {
	out := chain.Config{
		Steps: steps, Extensions: cfg.Knative.Extensions, CACerts: cfg.Knative.CACerts,
		Concurrency: cfg.Concurrency, Timeout: cfg.AttemptTimeout(), RetryMax: cfg.RetryMax,
		RetryWaitMin: cfg.RetryWaitMin, RetryWaitMax: cfg.RetryWaitMax,
		UserAgent: "kwatchman/" + Version, Logger: log, Metrics: m,
		Compress: zip.Compress, Decompress: zip.Decompress,
	}
	if cfg.Knative.Sink == "" { // which passes no foreign headers on
		out.Sign = cfg.SigningKey
	}
	if isTerminal(os.Stderr) {
		out.StopLevel = slog.LevelDebug // most changes are noise, and this would be more of it
	}
	if cfg.Knative.Sink != "" {
		out.Steps, out.Sink = []chain.Target{{URL: cfg.Knative.Sink}}, true
	}
	return out
}

// assemble makes the chain. durable tells that what it does not deliver is kept
// elsewhere.
func assemble(cfg *config.Config, functions map[string]Function, log *slog.Logger, m *metrics.Metrics, tracer *tracing.Tracer, durable bool) (*chain.Chain, *object.Compressor, error) {
	zip, err := object.NewCompressor()
	if err != nil {
		return nil, nil, err
	}
	ch, err := newChain(cfg, functions, zip, log, m, func(of *chain.Config) { of.Durable, of.Tracer = durable, tracer })
	return ch, zip, err
}

// newChain makes the chain, with what adapt changes.
func newChain(cfg *config.Config, functions map[string]Function, zip *object.Compressor, log *slog.Logger, m *metrics.Metrics, adapt func(*chain.Config)) (*chain.Chain, error) {
	steps, err := targets(cfg, functions)
	if err != nil {
		return nil, err
	}
	of := chainConfig(cfg, steps, zip, m, log)
	adapt(&of)
	if of.TLS, err = clientFiles(cfg, log); err != nil {
		return nil, err
	}
	if of.Token, err = token(cfg, log); err != nil {
		return nil, err
	}
	return chain.New(of)
}

// clientFiles reads the certificates for endpoints; nil: there are none.
func clientFiles(cfg *config.Config, log *slog.Logger) (*tlsfiles.Loader, error) {
	files := tlsfiles.Files{Cert: cfg.TlsCertFile, Key: cfg.TlsKeyFile, CA: cfg.TlsCaFile}
	if files == (tlsfiles.Files{}) {
		return nil, nil
	}
	names := tlsfiles.Files{Cert: "KW_TLS_CERT_FILE", Key: "KW_TLS_KEY_FILE", CA: "KW_TLS_CA_FILE"}
	return tlsfiles.Open(files, names, func(err error) { log.Error("certificate not renewed", "error", err) })
}

// token reads the token for endpoints; nil: there is none.
func token(cfg *config.Config, log *slog.Logger) (*bearer.Token, error) {
	if cfg.TokenFile == "" {
		return nil, nil
	}
	return bearer.Open("KW_TOKEN_FILE", cfg.TokenFile, func(err error) { log.Error("token not renewed", "error", err) })
}
