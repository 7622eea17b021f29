// Package source lists and watches one resource of the API server and records
// each change it sees, in order.
//
// The loop of list and watch is its own and not client-go's Reflector: a broken
// watch goes on where it was, a gap is read from the API server's history as far
// as that reaches, and a list is compared object by object as it comes, so that
// it is never in memory as a whole.
package source

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/seldom"
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
	// ListAt is the version to list the objects at, if Watch has none and the API
	// server still has that one: all that comes later is watched. Empty: the newest.
	ListAt string
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
	// RetryAll tries again whatever the API server answers, also at the start.
	RetryAll bool
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
	cfg      Config
	log      *slog.Logger
	seen     *state.Seen
	decoder  decoder
	path     string // of the list
	resource string // as metrics call it

	stop    context.CancelFunc // of the list and watch
	stopped context.Context    // ends with stop

	life   life
	synced atomic.Bool // the objects that exist at the start are known

	// Of the goroutine of Run.
	recording context.Context // of what was seen; outlives the list and watch
	objects   int             // that were seen
	counted   bool            // they have been, after the first list
	watched   bool            // a watch has been opened before
	noStream  bool            // a streaming list is not served, or broke

	unrecorded atomic.Bool // Run ended while something that was seen waited for room
	failing    atomic.Bool // the API server cannot be followed; it has been said
	reason     string      // why, as it was said
	again      seldom.Line // another reason is worth a line, but not each of them
}

// New prepares a source; Run starts it.
func New(cfg Config) *Source {
	resource := cfg.Scope.Resource.GroupResource().String()
	s := &Source{
		cfg: cfg, seen: cfg.State.Seen(cfg.Watch, cfg.Scope), resource: resource,
		path: client.Path(cfg.Scope.Resource, cfg.Watch.Namespace),
		log:  cfg.Logger.With("resource", resource, "namespace", cfg.Watch.Namespace),
	}
	packer := object.NewPacker(cfg.Scope.Kind, cfg.Redactor, cfg.Compressor.Vocabulary(resource))
	packer.Settled = s.isBaseline
	s.decoder = decoder{packer: packer, known: s.known}
	s.stopped, s.stop = context.WithCancel(context.Background())
	cfg.Metrics.Watching(resource)
	s.life.beat()
	return s
}

// Watch is how far the source is.
func (s *Source) Watch() state.Watch { return s.seen.Watch() }

// Behind tells whether the source cannot follow the API server at the moment, so
// that there may be changes that it has not seen. It may be called at any time,
// also after Run.
func (s *Source) Behind() bool { return s.failing.Load() || s.unrecorded.Load() }

// known is the object seen last, as far as it is needed to tell its version.
// Until the first list is through, it may be in the form of another version and
// is read anew; so it is when the state cannot be read, which the comparison
// will say.
func (s *Source) known(key string) *object.Object {
	if !s.synced.Load() {
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
	return w.IsBaseline(o)
}

// Stop ends the list and watch, and so Run, once what was seen is recorded. The
// end of Run's context ends it at once. It may be called at any time.
func (s *Source) Stop() { s.stop() }

// Gone records a Delete for every object that was seen: the resource does not
// exist any more. Run has to have ended.
func (s *Source) Gone(ctx context.Context) error {
	gone, err := s.seen.Absent(ctx, func(string) bool { return false })
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
		s.unrecorded.Store(true)
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

// Run follows the resource until ctx ends or Stop is called. Before the first
// objects are known, an answer that waiting cannot mend (forbidden, a bad
// selector) is an error, unless RetryAll is set; later everything is tried again.
// An error of Apply ends it, too.
func (s *Source) Run(ctx context.Context) error {
	s.recording = klog.NewContext(ctx, logr.FromSlogHandler(s.log.Handler()))
	watching, cancel := context.WithCancel(s.recording)
	defer cancel()
	defer context.AfterFunc(s.stopped, cancel)()
	s.cfg.Metrics.Watch(s.resource, 1)
	defer func() {
		s.count(-s.objects) // who comes next counts its own
		s.counted = false
		if s.failing.Load() {
			s.cfg.Metrics.Down(s.resource, -1) // nobody follows it any more
		}
		s.cfg.Metrics.Watch(s.resource, -1)
	}()
	return s.follow(watching)
}

// setSynced reports, once, that the objects that exist at the start are known.
func (s *Source) setSynced() error {
	if s.synced.Swap(true) {
		return nil
	}
	n, err := s.seen.Len(s.recording)
	if err != nil {
		return &recordError{err}
	}
	s.log.Info("watching", "objects", n)
	s.counted = true
	s.count(n)
	s.cfg.Synced()
	return nil
}
