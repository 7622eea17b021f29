package watcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kwatchman/kwatchman/watcher/chain"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/source"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// stopTimeout bounds the delivery of what is left at a stop; Kubernetes kills
// after 30 s.
const stopTimeout = 25 * time.Second

// watch wires the parts, follows the resources until ctx ends and delivers
// what has been seen by then.
func watch(ctx context.Context, cfg Config, log *slog.Logger) error {
	zip, err := object.NewCompressor(cfg.Concurrency)
	if err != nil {
		return err
	}
	ch, err := chain.New(chainConfig(cfg, zip, log))
	if err != nil {
		return err
	}
	api, err := client.Connect(cfg.Kubeconfig, "kwatchman/"+Version)
	if err != nil {
		return err
	}
	served, stale, err := api.Resources(ctx)
	if err != nil {
		return err
	}
	resources, err := client.Resolve(cfg.Resources, served, stale)
	if err != nil {
		return fmt.Errorf("KW_RESOURCES: %w", err)
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
	if cfg.knative.sink != "" && len(cfg.Handlers) > 0 {
		log.Warn("K_SINK is set, so KW_HANDLERS is not used")
	}
	f := &follower{cfg: cfg, log: log, api: api, zip: zip, chain: ch, ready: &ready}
	return f.follow(ctx, resources)
}

func chainConfig(cfg Config, zip *object.Compressor, log *slog.Logger) chain.Config {
	out := chain.Config{
		Steps: cfg.Handlers, Extensions: cfg.knative.extensions, CACerts: cfg.knative.caCerts,
		Concurrency: cfg.Concurrency, QueueEvents: cfg.QueueEvents, QueueBytes: int(cfg.QueueBytes),
		Timeout: cfg.timeout(), RetryMax: cfg.RetryMax,
		RetryWaitMin: cfg.RetryWaitMin, RetryWaitMax: cfg.RetryWaitMax,
		UserAgent: "kwatchman/" + Version, Logger: log,
		Compress: zip.Compress, Decompress: zip.Decompress,
	}
	if cfg.knative.sink != "" {
		out.Steps, out.Sink = []string{cfg.knative.sink}, true
	}
	return out
}

// follower owns the goroutines: one a source, and the chain's workers.
type follower struct {
	cfg   Config
	log   *slog.Logger
	api   *client.Client
	zip   *object.Compressor
	chain *chain.Chain
	ready *atomic.Bool
}

// follow runs until ctx ends or a source fails; then the sources stop first,
// and what they have seen is delivered.
func (f *follower) follow(ctx context.Context, resources []client.Resource) error {
	delivery, breakOff := context.WithCancel(context.WithoutCancel(ctx))
	defer breakOff()
	delivered := make(chan error, 1)
	go func() { delivered <- f.chain.Run(delivery) }()

	err := f.watchAll(ctx, f.sources(resources))
	f.ready.Store(false)
	f.log.Info("stopping", "waiting", f.chain.Waiting())
	f.chain.Close()
	grace := time.AfterFunc(stopTimeout, breakOff)
	defer grace.Stop()
	if left := <-delivered; left != nil {
		f.log.Error("changes lost", "error", left)
	}
	f.log.Info("stopped")
	return err
}

// sources makes one source a resource, or one for each configured namespace.
func (f *follower) sources(resources []client.Resource) []*source.Source {
	redactor := object.NewRedactor(object.RandomKey())
	type place struct {
		resource  client.Resource
		namespace string
	}
	var places []place
	for _, r := range resources {
		if !r.Namespaced || len(f.cfg.Namespace) == 0 {
			places = append(places, place{r, ""})
			continue
		}
		for _, ns := range slices.Compact(slices.Sorted(slices.Values(f.cfg.Namespace))) {
			places = append(places, place{r, ns})
		}
	}
	var left atomic.Int32
	left.Store(int32(len(places))) //nolint:gosec // bounded by the configuration
	synced := func() {
		if left.Add(-1) == 0 {
			f.ready.Store(true)
			debug.FreeOSMemory() // the first lists leave the heap larger than it has to be
			f.log.Info("ready")
		}
	}
	out := make([]*source.Source, len(places))
	for i, p := range places {
		out[i] = source.New(source.Config{
			Client: f.api.REST,
			Scope: state.Scope{
				Cluster: f.cfg.ClusterName, Resource: p.resource.GroupVersionResource, Kind: p.resource.Kind,
				SkipNoise: f.cfg.SkipNoise,
			},
			Namespace: p.namespace, LabelSelector: f.cfg.LabelSelector, FieldSelector: f.fieldSelector(p.resource),
			EmitInitial: f.cfg.Initial == "emit", Redactor: redactor, Compressor: f.zip,
			Emit:   func(ctx context.Context, c *state.Change) error { return f.chain.Push(ctx, c) },
			Synced: synced, Logger: f.log,
		})
	}
	return out
}

// fieldSelector joins the configured one with the namespaces to leave out,
// which the API server then does not even send.
func (f *follower) fieldSelector(r client.Resource) string {
	var parts []string
	if f.cfg.FieldSelector != "" {
		parts = append(parts, f.cfg.FieldSelector)
	}
	if r.Namespaced {
		for _, ns := range f.cfg.ExcludeNamespaces {
			parts = append(parts, "metadata.namespace!="+ns)
		}
	}
	return strings.Join(parts, ",")
}

// watchAll runs the sources; the first that fails stops the others.
func (f *follower) watchAll(ctx context.Context, sources []*source.Source) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for _, s := range sources {
		running.Go(func() {
			if err := s.Run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
