package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/internal/processors"
	"github.com/kwatchman/kwatchman/internal/tlsfiles"
	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/metrics"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/plan"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// stopTimeout is the time that a stop gives to the changes in the queue;
// Kubernetes kills after 30 s.
const stopTimeout = 25 * time.Second

// watch checks everything that can be checked before the first event, and
// then watches until ctx ends.
func watch(ctx context.Context, cfg *config.Config, functions map[string]Function, log *slog.Logger) (err error) {
	m := metrics.New(Version)
	ch, zip, err := assemble(cfg, functions, log, m, cfg.StateDir != "")
	if err != nil {
		return err
	}
	st, err := state.Open(state.Config{
		Dir: cfg.StateDir, Events: cfg.QueueEvents, Bytes: cfg.MaxQueueBytes(), Rules: cfg.Redaction, Compressor: zip, Logger: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Release()) }()
	letters, err := openDeadLetter(cfg, ch)
	if err != nil {
		return err
	}
	defer letters.close()
	if err := recordTo(cfg, ch, log); err != nil {
		return err
	}
	f, p, err := reach(ctx, cfg, st, zip, log)
	if err != nil {
		return err
	}
	f.metrics = m
	m.Queue(func() metrics.Queue {
		return metrics.Queue{Events: st.Waiting(), Bytes: st.WaitingBytes(), Oldest: ch.Oldest()}
	})
	m.Gauge("state_bytes", "Bytes of the state: of its file, or of what is kept in memory.", func() float64 { return float64(st.Size()) })
	h := &health{loops: []func(time.Time) string{ch.Stuck, st.Stuck, f.stuck}, writable: st.Writable}
	stopHealth, err := serveHealth(ctx, cfg.MetricsAddr, m.Handler(), h, log)
	if err != nil {
		return err
	}
	defer stopHealth()
	log.Info("starting", "version", Version, "server", f.api.Host(), "cluster", cfg.ClusterName, "chain", ch.Steps(),
		"file", cfg.ConfigFile, "state", cfg.StateDir, "waiting", st.Waiting(), "deadLetter", letters.name())
	if cfg.Knative.Replaces {
		log.Warn("K_SINK is set, so the configured handlers are not used")
	}
	for _, note := range cfg.Notes {
		log.Warn("configuration", "note", note)
	}
	if err := f.prepare(p); err != nil {
		return err
	}
	cpus := processors.New(processors.Config{Most: 2, Much: 64, Waiting: st.Waiting}) // more than two gain little
	defer cpus.End()
	f.pending.ready = func() {
		h.ready.Store(true)
		cpus.Calm()
		debug.FreeOSMemory() // the first lists leave the heap larger than it has to be
		log.Info("ready")
	}
	return deliver(ctx, f, ch, st, cpus, &h.ready, log)
}

// reach asks the API server all that a start needs to know.
func reach(ctx context.Context, cfg *config.Config, st *state.State, zip *object.Compressor, log *slog.Logger) (*follower, *plan.Plan, error) {
	current := map[client.Place]schema.GroupVersionResource{}
	kept, _ := st.Kept()
	for _, k := range kept {
		current[k.Place()] = k.Resource
	}
	api, served, p, err := survey(ctx, cfg, current)
	if err != nil {
		return nil, nil, err
	}
	if err := permitted(ctx, api, p, log); err != nil {
		return nil, nil, err
	}
	if err := selectable(ctx, cfg, api, p); err != nil {
		return nil, nil, err
	}
	if cfg.ClusterName == "" {
		cfg.ClusterName = api.ClusterName(ctx, log)
	}
	if st.Durable() {
		if err := st.Claim(state.Cluster{Name: cfg.ClusterName, UID: api.ClusterUID(ctx)}); err != nil {
			return nil, nil, err
		}
	}
	return &follower{
		cfg: cfg, log: log, api: api, zip: zip, redactor: object.NewRedactor(st.Key(), cfg.Redaction), state: st,
		served: served, running: map[client.Place]*running{}, gone: map[client.Place]bool{}, trouble: make(chan struct{}, 1),
	}, p, nil
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
func assemble(cfg *config.Config, functions map[string]Function, log *slog.Logger, m *metrics.Metrics, durable bool) (*chain.Chain, *object.Compressor, error) {
	zip, err := object.NewCompressor()
	if err != nil {
		return nil, nil, err
	}
	steps, err := targets(cfg, functions)
	if err != nil {
		return nil, nil, err
	}
	of := chainConfig(cfg, steps, zip, m, log)
	of.Durable = durable
	if of.TLS, err = clientFiles(cfg, log); err != nil {
		return nil, nil, err
	}
	ch, err := chain.New(of)
	return ch, zip, err
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

// deliver follows and delivers until ctx ends, a source cannot do its work, or
// the state cannot be written. It first stops watching. Then what is in flight
// has stopTimeout to come to its end, and without a file of the state all that
// is queued.
func deliver(ctx context.Context, f *follower, ch *chain.Chain, st *state.State, cpus *processors.Processors, ready *atomic.Bool, log *slog.Logger) error {
	following, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	delivery, breakOff := context.WithCancel(context.WithoutCancel(ctx))
	defer breakOff()
	for _, q := range st.Queue() {
		ch.Push(q)
	}
	written, delivered := make(chan error, 1), make(chan int, 1)
	go func() {
		err := st.Run(func(q *state.Queued) {
			ch.Push(q)
			cpus.Busy()
		})
		if err != nil {
			fail(err)
		}
		written <- err
	}()
	go func() { delivered <- ch.Run(delivery) }()

	err := f.follow(following)
	if err == nil && ctx.Err() == nil {
		err = context.Cause(following)
	}
	ready.Store(false)
	if isTerminal(os.Stderr) {
		_, _ = os.Stderr.WriteString("\n") // behind the ^C
	}
	log.Info("stopping", "waiting", st.Waiting())
	grace := time.AfterFunc(stopTimeout, breakOff)
	defer grace.Stop()
	_ = st.Flush(delivery) // what was seen reaches the chain; Run has the error
	ch.Close()
	left := <-delivered
	st.Close()
	failed := <-written
	switch {
	case failed != nil && ctx.Err() != nil:
		log.Error("state not written, the next start repeats what it does not have", "error", failed)
	case left > 0 && st.Durable():
		log.Info("changes wait in the state for the next start", "changes", left)
	case left > 0:
		log.Error("changes lost", "error", fmt.Sprintf("%d changes were not delivered before the stop", left))
	}
	done, givenUp := ch.Counts()
	log.Info("stopped", "delivered", done, "givenUp", givenUp)
	return err
}
