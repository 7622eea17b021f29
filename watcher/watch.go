package watcher

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/config"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/plan"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// stopTimeout is the time that a stop gives to the changes in the queue;
// Kubernetes kills after 30 s.
const stopTimeout = 25 * time.Second

// watch checks everything that can be checked before the first event, and
// then watches until ctx ends.
func watch(ctx context.Context, cfg *config.Config, functions map[string]Function, log *slog.Logger) error {
	zip, err := object.NewCompressor(cfg.Concurrency)
	if err != nil {
		return err
	}
	steps, err := targets(cfg, functions)
	if err != nil {
		return err
	}
	ch, err := chain.New(chainConfig(cfg, steps, zip, log))
	if err != nil {
		return err
	}
	api, served, p, err := survey(ctx, cfg)
	if err != nil {
		return err
	}
	if err := permitted(ctx, api, p, log); err != nil {
		return err
	}
	if err := selectable(ctx, cfg, api, p); err != nil {
		return err
	}
	if cfg.ClusterName == "" {
		cfg.ClusterName = api.ClusterName(ctx, log)
	}
	var ready atomic.Bool
	stopHealth, err := serveHealth(ctx, cfg.MetricsAddr, &ready, log)
	if err != nil {
		return err
	}
	defer stopHealth()
	log.Info("starting", "version", Version, "server", api.Host(), "cluster", cfg.ClusterName, "chain", ch.Steps(), "file", cfg.ConfigFile)
	if cfg.Knative.Replaces {
		log.Warn("K_SINK is set, so the configured handlers are not used")
	}
	for _, note := range cfg.Notes {
		log.Warn("configuration", "note", note)
	}
	f := &follower{
		cfg: cfg, log: log, api: api, zip: zip, redactor: object.NewRedactor(object.RandomKey()),
		emit:   func(ctx context.Context, c *state.Change) error { return ch.Push(ctx, c) },
		served: served, started: served.Time, running: map[client.Place]*running{}, gone: map[client.Place]bool{}, trouble: make(chan struct{}, 1),
	}
	f.pending.ready = func() {
		ready.Store(true)
		debug.FreeOSMemory() // the first lists leave the heap larger than it has to be
		log.Info("ready")
	}
	return deliver(ctx, f, ch, &ready, log)
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

// survey finds what is configured among what the API server serves.
func survey(ctx context.Context, cfg *config.Config) (*client.Client, *client.Discovery, *plan.Plan, error) {
	api, served, err := connect(ctx, cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	p := plan.Of(cfg, served, nil)
	return api, served, p, p.Err()
}

func chainConfig(cfg *config.Config, steps []chain.Target, zip *object.Compressor, log *slog.Logger) chain.Config {
	out := chain.Config{
		Steps: steps, Extensions: cfg.Knative.Extensions, CACerts: cfg.Knative.CACerts,
		Concurrency: cfg.Concurrency, QueueEvents: cfg.QueueEvents, QueueBytes: int(cfg.QueueBytes),
		Timeout: cfg.AttemptTimeout(), RetryMax: cfg.RetryMax,
		RetryWaitMin: cfg.RetryWaitMin, RetryWaitMax: cfg.RetryWaitMax,
		UserAgent: "kwatchman/" + Version, Logger: log,
		Compress: zip.Compress, Decompress: zip.Decompress,
	}
	if isTerminal(os.Stderr) {
		out.StopLevel = slog.LevelDebug // most changes are noise, and this would be more of it
	}
	if cfg.Knative.Sink != "" {
		out.Steps, out.Sink = []chain.Target{{URL: cfg.Knative.Sink}}, true
	}
	return out
}

// deliver follows and delivers until ctx ends or a source cannot do its work.
// It first stops watching, then gives the queue stopTimeout to empty.
func deliver(ctx context.Context, f *follower, ch *chain.Chain, ready *atomic.Bool, log *slog.Logger) error {
	delivery, breakOff := context.WithCancel(context.WithoutCancel(ctx))
	defer breakOff()
	delivered := make(chan error, 1)
	go func() { delivered <- ch.Run(delivery) }()

	err := f.follow(ctx)
	ready.Store(false)
	if isTerminal(os.Stderr) {
		_, _ = os.Stderr.WriteString("\n") // behind the ^C
	}
	log.Info("stopping", "waiting", ch.Waiting())
	ch.Close()
	grace := time.AfterFunc(stopTimeout, breakOff)
	defer grace.Stop()
	if left := <-delivered; left != nil {
		log.Error("changes lost", "error", left)
	}
	log.Info("stopped")
	return err
}
