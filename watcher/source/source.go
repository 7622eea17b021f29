// Package source lists and watches one resource of the API server and hands on
// each change it sees, in order.
package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// Config says what to watch and where changes go.
type Config struct {
	Client        rest.Interface
	Scope         state.Scope
	Namespace     string // empty: all namespaces, or a cluster-scoped resource
	LabelSelector string
	FieldSelector string
	// EmitInitial reports the objects that exist at the start as Adds instead
	// of taking them as the baseline.
	EmitInitial bool
	Redactor    *object.Redactor
	Compressor  *object.Compressor
	// Emit takes a change; it blocks while the queue is full, which holds the
	// watch back, and fails only when ctx ends.
	Emit func(context.Context, *state.Change) error
	// Synced is called once, when the objects that exist at the start are known.
	Synced func()
	Logger *slog.Logger
}

// Source follows one resource, in one namespace or all.
type Source struct {
	cfg  Config
	log  *slog.Logger
	seen *state.Seen
	lw   *listWatch
}

// New prepares a source; Run starts it.
func New(cfg Config) *Source {
	packer := object.NewPacker(cfg.Scope.Kind, cfg.Redactor, cfg.Compressor)
	seen := state.NewSeen(cfg.Scope, packer)
	s := &Source{
		cfg: cfg, seen: seen,
		log: cfg.Logger.With("resource", cfg.Scope.Resource.GroupResource().String(), "namespace", cfg.Namespace),
	}
	s.lw = &listWatch{
		client: cfg.Client, path: path(cfg.Scope.Resource, cfg.Namespace),
		labelSelector: cfg.LabelSelector, fieldSelector: cfg.FieldSelector,
	}
	s.lw.log, s.lw.explain = s.log, s.explain
	s.lw.decoder = decoder{packer: packer, known: seen.Get, keepFields: s.lw.wasSynced}
	if cfg.EmitInitial {
		s.lw.synced = true // nothing is baseline
	}
	return s
}

// path is where a resource's objects are listed: an object's path without its
// name.
func path(r schema.GroupVersionResource, namespace string) string {
	return strings.TrimSuffix(event.NewSubject(r.Group, r.Version, r.Resource, namespace, ""), "/")
}

// Run follows the resource until ctx ends. Before the first objects are known,
// an answer that waiting cannot mend (forbidden, not served, a bad selector)
// is an error; later everything is tried again.
func (s *Source) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, logr.FromSlogHandler(s.log.Handler())))
	defer s.lw.close()
	defer cancel()
	store := &recorder{source: s, ctx: ctx, cancel: cancel}
	r := cache.NewReflectorWithOptions(s.lw, nil, store, cache.ReflectorOptions{
		Name: s.cfg.Scope.Resource.GroupResource().String(), TypeDescription: s.cfg.Scope.Kind.Kind,
		Backoff: &wait.Backoff{Duration: 500 * time.Millisecond, Cap: 15 * time.Second, Steps: 10, Factor: 2, Jitter: 0.5},
	})
	backoff := newBackoff()
	for ctx.Err() == nil {
		started := time.Now()
		err := r.ListAndWatchWithContext(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil && !s.lw.everWatched() && final(err) {
			return s.explain(err)
		}
		if err != nil {
			s.lw.failed(err)
		}
		if time.Since(started) > time.Minute {
			backoff = newBackoff()
		}
		sleep(ctx, backoff.Step())
	}
	return store.err
}

// newBackoff paces the attempts to list or watch again: an API server that
// comes back finds its watchers within seconds, but not all in one instant.
func newBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Cap: 15 * time.Second, Steps: 10, Factor: 2, Jitter: 0.5}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// final tells whether the API server's answer is one that waiting cannot mend.
func final(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) ||
		apierrors.IsMethodNotSupported(err) || apierrors.IsBadRequest(err) || apierrors.IsInvalid(err)
}

// explain makes one line of an error that says what to do.
func (s *Source) explain(err error) error {
	r := s.cfg.Scope.Resource
	var status apierrors.APIStatus
	if u, ok := errors.AsType[*url.Error](err); ok { // without the URL, which says nothing new
		return fmt.Errorf("watch %s: the API server cannot be reached: %w", r.GroupResource(), u.Err)
	}
	if !errors.As(err, &status) {
		return fmt.Errorf("watch %s: %w", r.GroupResource(), err)
	}
	message := status.Status().Message
	if apierrors.IsForbidden(err) {
		role := "its ClusterRole"
		if s.cfg.Namespace != "" {
			role = "its Role in namespace " + s.cfg.Namespace
		}
		return fmt.Errorf("watch %s: %s; add to %s the rule {apiGroups: [%q], resources: [%q], verbs: [\"list\", \"watch\"]}",
			r.GroupResource(), message, role, r.Group, r.Resource)
	}
	if apierrors.IsUnauthorized(err) {
		message = client.UnauthorizedText
	}
	if apierrors.IsBadRequest(err) && s.cfg.FieldSelector != "" {
		message += "; see the field selector"
	}
	return fmt.Errorf("watch %s: %s", r.GroupResource(), message)
}
