// Package source lists and watches one resource of the API server and hands on
// each change it sees, in order.
package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/pause"
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/metrics"
	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// Config says what to watch and where changes go.
type Config struct {
	Client rest.Interface
	Scope  state.Scope
	// Watch is what to follow, and how far that has been done.
	Watch state.Watch
	// From is the version to list the objects at, if Watch has none and the API
	// server still has that one: all that comes later is watched. Empty: the newest.
	From string
	// FieldSelector is Watch's, with the namespaces to leave out.
	FieldSelector string
	State         *state.State
	// Apply records what was seen, as state.State.Apply does: it blocks while the
	// queue is full, which holds the watch back.
	Apply      func(context.Context, *state.Tx) error
	Redactor   *object.Redactor
	Compressor *object.Compressor
	// Own is the key of the one object that is not looked at, because the watcher
	// itself writes it; empty: there is none.
	Own string
	// Patient tries again whatever the API server answers, also at the start.
	Patient bool
	// Synced is called once, when the objects that exist at the start are known.
	Synced func()
	// NotServed is called when the API server does not know the path: the
	// resource may be gone or served in another version.
	NotServed func()
	Metrics   *metrics.Metrics
	Logger    *slog.Logger
}

// Source follows one resource, in one namespace or all.
type Source struct {
	cfg   Config
	log   *slog.Logger
	seen  *state.Seen
	lw    *listWatch
	stop  context.CancelFunc // of the list and watch
	until context.Context

	life     life
	resource string // as metrics call it
	objects  int    // that were seen; of the goroutine that records
	counted  bool   // they have been, after the first list
}

// New prepares a source; Run starts it.
func New(cfg Config) *Source {
	packer := object.NewPacker(cfg.Scope.Kind, cfg.Redactor, cfg.Compressor.Vocabulary(cfg.Scope.Resource.GroupResource().String()))
	s := &Source{
		cfg: cfg, seen: cfg.State.Seen(cfg.Watch, cfg.Scope),
		log: cfg.Logger.With("resource", cfg.Scope.Resource.GroupResource().String(), "namespace", cfg.Watch.Namespace),
	}
	s.lw = &listWatch{
		client: cfg.Client, path: client.Path(cfg.Scope.Resource, cfg.Watch.Namespace),
		labelSelector: cfg.Watch.Labels, fieldSelector: cfg.FieldSelector,
		version: cfg.Watch.Version, oldest: cfg.From,
	}
	resource := cfg.Scope.Resource.GroupResource().String()
	cfg.Metrics.Watching(resource)
	s.lw.beat = s.life.beat
	s.lw.beat()
	s.lw.restarted = func() { cfg.Metrics.Restarted(resource) }
	s.lw.down = func(delta int) { cfg.Metrics.Down(resource, delta) }
	s.resource = resource
	s.lw.log, s.lw.explain, s.lw.notServed = s.log, s.explain, cfg.NotServed
	packer.Settled = s.isBaseline
	s.lw.decoder = decoder{packer: packer, known: s.known, zip: cfg.Compressor}
	s.until, s.stop = context.WithCancel(context.Background())
	return s
}

// Watch is how far the source is.
func (s *Source) Watch() state.Watch { return s.seen.Watch() }

// known is the object seen last, as far as it is needed to tell its version.
// Until the first list is through, it may be in the form of another version and
// is read anew; so it is when the state cannot be read, which the recorder
// will say.
func (s *Source) known(key string) *object.Object {
	if !s.lw.wasReported() {
		return nil
	}
	o, err := s.seen.Get(key, false)
	if err != nil {
		return nil
	}
	return o
}

// isBaseline tells whether an object that was not seen before is no change: the
// managedFields of a baseline would be most of its memory.
func (s *Source) isBaseline(o *object.Object) bool {
	w := s.seen.Watch()
	return !w.Knows(o.Namespace) && o.Created < w.Old
}

// Stop ends the list and watch, and so Run, once what was seen is handed on.
// The end of Run's context ends it at once.
func (s *Source) Stop() { s.stop() }

// Gone records a Delete for every object that was seen: the resource does not
// exist any more. Run has to have ended.
func (s *Source) Gone(ctx context.Context) error {
	gone, err := s.seen.Absent(ctx, nil)
	if err != nil {
		return err
	}
	for _, key := range gone {
		var t state.Tx
		if err := s.seen.Remove(&t, key, event.ViaRelist); err != nil {
			return err
		}
		if err := s.apply(ctx, &t); err != nil {
			return err
		}
	}
	var t state.Tx
	s.seen.Drop(&t)
	return s.apply(ctx, &t)
}

// apply records what was seen, and counts it.
func (s *Source) apply(ctx context.Context, t *state.Tx) error {
	s.life.waits.Store(true)
	err := s.cfg.Apply(ctx, t)
	s.life.waits.Store(false)
	s.life.beat()
	if err != nil {
		return err
	}
	for _, c := range t.Changes() {
		s.cfg.Metrics.Changed(s.resource, string(c.Action()), c.Via())
		switch c.Action() {
		case event.Add:
			s.count(1)
		case event.Delete:
			s.count(-1)
		}
	}
	return nil
}

// count follows the number of objects, once it is known.
func (s *Source) count(delta int) {
	if s.counted {
		s.objects += delta
		s.cfg.Metrics.Objects(s.resource, delta)
	}
}

// Run follows the resource until ctx ends. Before the first objects are known,
// an answer that waiting cannot mend (forbidden, a bad selector)
// is an error; later everything is tried again.
func (s *Source) Run(ctx context.Context) error {
	whole, end := context.WithCancel(klog.NewContext(ctx, logr.FromSlogHandler(s.log.Handler())))
	ctx, cancel := context.WithCancel(whole)
	defer context.AfterFunc(s.until, cancel)()
	defer s.lw.close()
	defer end()
	defer cancel()
	s.cfg.Metrics.Watch(s.resource, 1)
	defer func() {
		s.count(-s.objects) // who comes next counts its own
		s.counted = false
		s.lw.end()
		s.cfg.Metrics.Watch(s.resource, -1)
	}()
	store := &recorder{source: s, ctx: whole, watch: ctx, cancel: end}
	backoff := newBackoff()
	for ctx.Err() == nil {
		started := time.Now()
		// A new reflector each time: it remembers its waits for minutes, and a
		// custom resource that is defined anew makes it wait more and more.
		err := s.reflector(store).ListAndWatchWithContext(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil && !s.cfg.Patient && !s.lw.everWatched() && final(err) {
			return s.explain(err)
		}
		if err != nil {
			s.lw.failed(err)
		}
		if s.lw.takeWatched() && time.Since(started) > time.Second {
			backoff = newBackoff()
		}
		d := backoff.Step()
		if apierrors.IsNotFound(err) {
			d = min(d, 2*time.Second) // a cheap question, and it may be served again at any time
		}
		_ = pause.For(ctx, d)
	}
	return store.err
}

func (s *Source) reflector(store cache.ReflectorStore) *cache.Reflector {
	return cache.NewReflectorWithOptions(s.lw, nil, store, cache.ReflectorOptions{
		Name: s.cfg.Scope.Resource.GroupResource().String(), TypeDescription: s.cfg.Scope.Kind.Kind,
		Backoff: &wait.Backoff{Duration: 500 * time.Millisecond, Cap: 5 * time.Second, Steps: 10, Factor: 2, Jitter: 0.5},
	})
}

// newBackoff paces the attempts to list or watch again: an API server that
// comes back finds its watchers within seconds, but not all in one instant.
func newBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Cap: 15 * time.Second, Steps: 10, Factor: 2, Jitter: 0.5}
}

// final tells whether the API server's answer is one that waiting cannot mend.
func final(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) ||
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
		if s.cfg.Watch.Namespace != "" {
			role = "its Role in namespace " + s.cfg.Watch.Namespace
		}
		return fmt.Errorf("watch %s: %s; add to %s the rule %s (kwatchman rbac prints all of them)",
			r.GroupResource(), message, role, client.Rule(r.GroupResource(), client.Verbs...))
	}
	if apierrors.IsUnauthorized(err) {
		message = client.UnauthorizedText
	}
	if apierrors.IsBadRequest(err) && s.cfg.FieldSelector != "" {
		message += "; see the field selector"
	}
	return fmt.Errorf("watch %s: %s", r.GroupResource(), message)
}
