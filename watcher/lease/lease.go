// Package lease elects one of several watchers: the one that holds a Lease of
// coordination.k8s.io leads, and the others stand by.
//
// The Lease is used as client-go's package leaderelection uses it. That package
// brings the client of every API along, which is twenty megabytes of binary and
// eleven of memory; and what a leader leaves to the next one has to be written
// in the same request that says that it still leads, so that a leader that has
// lost the Lease cannot write it.
package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kwatchman/kwatchman/internal/pause"
	"github.com/kwatchman/kwatchman/internal/seldom"
	"github.com/kwatchman/kwatchman/internal/unreached"
	"github.com/kwatchman/kwatchman/watcher/client"
)

// Annotation is where the leader writes what the next one begins with.
const Annotation = "kwatchman.dev/watermarks"

// maxContent bounds the annotation in bytes; Kubernetes' limit for all of an
// object's is 256 KiB.
const maxContent = 240 << 10

// Verbs are what taking part takes: all but the first on the Lease alone.
var Verbs = []string{"create", "get", "update"}

// Rules are those of a Role for the Lease of a name, as YAML.
func Rules(name string) []string {
	return []string{
		client.Rule(Resource, Verbs[0]),
		fmt.Sprintf("{apiGroups: [%q], resources: [%q], resourceNames: [%q], verbs: [%q, %q]}", Resource.Group, Resource.Resource, name, Verbs[1], Verbs[2]),
	}
}

// Resource is what a Lease is one of.
var Resource = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

// ErrLost is why a term ended that nobody asked to end.
var ErrLost = errors.New("the Lease is lost")

// Config says who takes part in what.
type Config struct {
	Client          rest.Interface
	Namespace, Name string
	// Identity is the process's own, and no other's, also after a restart.
	Identity string
	// Duration is how long the others wait for a leader that is not heard of. A
	// leader that cannot renew the Lease for two thirds of it stops.
	Duration time.Duration
	Logger   *slog.Logger
}

// Election is one watcher's part in it.
type Election struct {
	cfg  Config
	log  *slog.Logger
	path string

	// Of the goroutine of Run.
	lease   *coordination.Lease // as it was last seen
	seen    time.Time           // when it was first seen with that spec
	epoch   int64               // the highest that is known; -1: none
	holder  string              // as it was last said
	failing bool                // it has been said
	asked   bool                // there was an answer before
	missing time.Time           // since when there is no Lease; zero: there was one at the last look
	unsure  bool                // the Lease may be ours without our having had the answer
	looked  bool                // it was looked at: who has our name from now on is another one
	full    seldom.Line

	beat  atomic.Int64 // when it was last about it, in nanoseconds since 1970
	leads atomic.Bool
}

// New prepares an election; Run takes part.
func New(cfg Config) *Election {
	e := &Election{cfg: cfg, epoch: -1, log: cfg.Logger.With("lease", cfg.Namespace+"/"+cfg.Name)}
	e.path = client.Path(schema.GroupVersionResource{Group: Resource.Group, Version: "v1", Resource: Resource.Resource}, cfg.Namespace)
	e.live()
	return e
}

// Term is a time of leading.
type Term struct {
	// Epoch counts the terms of all watchers that share the Lease: each has a
	// higher one than the term before.
	Epoch int64
	// Found is what the leader before has left; empty: nothing.
	Found string
	// Before tells that there was one.
	Before bool

	// Set before lead is called, and not after.
	held  context.Context
	drop  context.CancelCauseFunc // ends held
	end   context.CancelCauseFunc // ends the context that lead has
	limit time.Duration           // how long a renewal holds

	lost atomic.Bool

	mu      sync.Mutex
	renewed time.Time     // when the last renewal was asked for; under mu
	content func() string // see Publish; under mu
}

// Held is done, with the cause ErrLost, as soon as another watcher may lead, and
// with another cause when lead has returned. A stop does not end it, as it ends
// the context of lead: what is still under way then may go on while the Lease is
// held. Only lead, and what it starts, may call it.
func (t *Term) Held() context.Context { return t.held }

// Publish says what to write for the next leader, at each renewal from now on.
// Until then, what the one before has written stays.
func (t *Term) Publish(content func() string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.content = content
}

// Holds tells whether the term lasts. Once it does not, it has ended: another
// watcher may lead.
func (t *Term) Holds() bool {
	if t.lost.Load() {
		return false
	}
	if t.left() <= 0 {
		t.lose()
		return false
	}
	return true
}

// Lost tells whether the term ended because another watcher may lead.
func (t *Term) Lost() bool { return t.lost.Load() }

// left is how long the term lasts without another renewal. A machine that slept
// may have stopped one of its two clocks.
func (t *Term) left() time.Duration {
	t.mu.Lock()
	renewed := t.renewed
	t.mu.Unlock()
	now := time.Now()
	return t.limit - max(now.Sub(renewed), now.Round(0).Sub(renewed.Round(0)))
}

func (t *Term) lose() {
	t.lost.Store(true)
	t.drop(ErrLost)
	t.end(ErrLost)
}

// attemptTimeout bounds one request.
const attemptTimeout = 5 * time.Second

// limit is how long a renewal lets a leader lead: less than the others wait.
func (e *Election) limit() time.Duration { return e.cfg.Duration * 2 / 3 }

// pause is the time between two looks or renewals.
func (e *Election) pause() time.Duration {
	return min(time.Second, e.cfg.Duration/10)
}

func (e *Election) live() { e.beat.Store(time.Now().UnixNano()) }

// stillness is how long an election may show no life: each request is bounded.
const stillness = time.Minute

// Stuck says why the election can be taken for stuck; empty: it lives.
func (e *Election) Stuck(now time.Time) string {
	if d := now.Sub(time.Unix(0, e.beat.Load())); d > stillness {
		return fmt.Sprintf("the Lease has not been looked at for %s", d.Round(time.Second))
	}
	return ""
}

// Leads tells whether this watcher leads.
func (e *Election) Leads() bool { return e.leads.Load() }

// Run takes part until ctx ends or lead returns an error. lead is called for
// each term; its context ends with the term, because it was lost or because ctx
// ended, and then the Lease is held until lead returns. An error before there
// was any answer, which waiting cannot mend, is one for people.
func (e *Election) Run(ctx context.Context, lead func(context.Context, *Term) error) error {
	for ctx.Err() == nil {
		t, err := e.try(ctx)
		if err := e.note(ctx, err); err != nil {
			return err
		}
		if t != nil {
			if err := e.reign(ctx, t, lead); err != nil {
				return err
			}
		}
		_ = pause.For(ctx, e.pause()/2+rand.N(e.pause())) //nolint:gosec // jitter is no secret
	}
	return nil
}

// reign holds the Lease while lead is at work.
func (e *Election) reign(ctx context.Context, t *Term, lead func(context.Context, *Term) error) error {
	hold := context.WithoutCancel(ctx) // it is held until the work is done
	t.held, t.drop = context.WithCancelCause(hold)
	defer t.drop(nil)
	during, end := context.WithCancelCause(ctx)
	defer end(nil)
	t.end = end
	e.leads.Store(true)
	defer e.leads.Store(false)
	e.log.Info("leading", "epoch", t.Epoch)
	done := make(chan error, 1)
	go func() { done <- lead(during, t) }()
	tick := time.NewTimer(e.pause())
	defer tick.Stop()
	said := false
	for {
		select {
		case err := <-done:
			if !t.Lost() {
				e.release(hold, t)
			}
			return err
		case <-tick.C:
		}
		if t.Holds() {
			e.renew(hold, t)
		}
		if t.Lost() && !said {
			said = true
			e.log.Warn("the Lease is lost, another watcher may lead", "epoch", t.Epoch)
		}
		e.live()
		tick.Reset(e.untilRenewal(t))
	}
}

// untilRenewal is the time to the next renewal, or to the moment at which the
// term ends without one.
func (e *Election) untilRenewal(t *Term) time.Duration {
	if t.Lost() {
		return e.pause()
	}
	return max(min(e.pause(), t.left()), time.Millisecond)
}

// renew says that this watcher still leads. Another one's name in the Lease ends
// the term.
func (e *Election) renew(ctx context.Context, t *Term) {
	asked := time.Now()
	bounded, cancel := context.WithTimeout(ctx, min(attemptTimeout, max(t.left(), time.Millisecond)))
	defer cancel()
	err := e.keep(bounded, t, e.cfg.Identity)
	switch {
	case err == nil:
		t.mu.Lock()
		t.renewed = asked
		t.mu.Unlock()
	case lost(err):
		t.lose()
	}
	_ = e.note(ctx, err)
}

// keep writes the Lease of a term, whatever others than watchers have done to it:
// somebody may have written a label, or deleted it.
func (e *Election) keep(ctx context.Context, t *Term, holder string) error {
	err := e.write(ctx, t, holder)
	if apierrors.IsConflict(err) {
		if err = e.look(ctx); err == nil && !e.holds(t) {
			return apierrors.NewConflict(Resource, e.cfg.Name, errors.New("another watcher leads"))
		}
		if err == nil {
			err = e.write(ctx, t, holder)
		}
	}
	if apierrors.IsNotFound(err) {
		e.log.Warn("the Lease was deleted, making it again", "epoch", t.Epoch)
		err = e.create(ctx, t, holder)
	}
	return err
}

// lost tells whether another watcher has the Lease.
func lost(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}

// holds tells whether the Lease is that of a term. Another process may have our
// name.
func (e *Election) holds(t *Term) bool {
	spec := e.lease.Spec
	if of(spec.HolderIdentity) != e.cfg.Identity {
		return false
	}
	if int64(of(spec.LeaseTransitions)) != t.Epoch {
		e.log.Error("another watcher has the same KW_LEASE_IDENTITY: give each its own", "identity", e.cfg.Identity)
		return false
	}
	return true
}

// release lets another watcher lead at once.
func (e *Election) release(ctx context.Context, t *Term) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if err := e.keep(ctx, t, ""); err != nil {
		e.log.Warn("the Lease is not given back, it has to expire", "error", e.explain(err))
		return
	}
	e.log.Info("the Lease is given back", "epoch", t.Epoch)
}

// note says once that the Lease cannot be reached, until it can again. The error
// is for who starts: see Run.
func (e *Election) note(ctx context.Context, err error) error {
	switch {
	case err == nil:
		if e.failing {
			e.log.Info("the Lease is reached again")
		}
		// That there is no Lease is no answer yet: the namespace may be missing, too.
		e.failing, e.asked = false, e.lease != nil
	case ctx.Err() != nil, apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), e.asked && apierrors.IsNotFound(err): // news, and no trouble
	case !e.asked && (apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err)):
		return fmt.Errorf("KW_LEASE: %w", e.explain(err))
	case !e.failing:
		e.failing = true
		e.log.Warn("the Lease cannot be reached, trying again", "error", e.explain(err))
	}
	return nil
}

// explain makes one line of an error that says what to do.
func (e *Election) explain(err error) error {
	var status apierrors.APIStatus
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s; add to a Role in namespace %s the rules %s (kwatchman rbac prints all of them)",
			message(err), e.cfg.Namespace, strings.Join(Rules(e.cfg.Name), " and "))
	case apierrors.IsUnauthorized(err):
		return errors.New(client.UnauthorizedText)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("namespace %s, where the Lease is to be, does not exist: create it, or name another", e.cfg.Namespace)
	case errors.As(err, &status):
		return errors.New(message(err))
	}
	return errors.New("the API server cannot be reached: " + unreached.Cause(err))
}

func message(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return strings.Join(strings.Fields(status.Status().Message), " ")
	}
	return err.Error()
}

// try looks at the Lease, and takes it if nobody holds it any more.
func (e *Election) try(ctx context.Context) (*Term, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	asked := time.Now()
	err := e.look(ctx)
	e.live()
	t := &Term{limit: e.limit(), renewed: asked}
	switch {
	case apierrors.IsNotFound(err) && !e.abandoned():
		return nil, nil
	case apierrors.IsNotFound(err):
		t.Epoch, t.Before = e.epoch+1, e.epoch >= 0
		if e.lease != nil {
			t.Found = e.lease.Annotations[Annotation]
		}
		err = e.create(ctx, t, e.cfg.Identity)
	case err != nil:
		return nil, err
	case !e.free():
		e.looked = true
		if holder := of(e.lease.Spec.HolderIdentity); holder != e.holder {
			e.holder = holder
			e.log.Info("standing by", "leader", holder)
		}
		return nil, nil
	default:
		t.Epoch, t.Found, t.Before = e.epoch+1, e.lease.Annotations[Annotation], e.lease.Spec.RenewTime != nil
		err = e.write(ctx, t, e.cfg.Identity)
	}
	e.looked, e.unsure = true, err != nil && !lost(err)
	if err != nil {
		return nil, err
	}
	e.epoch, e.holder = t.Epoch, e.cfg.Identity
	return t, nil
}

// missingPauses is for how many pauses a Lease has to be missing before somebody
// makes it who is not its leader: a leader makes it again within one or two.
const missingPauses = 3

// abandoned tells, of a Lease that is missing, whether it may be made: no leader
// that lives makes it again, neither one that nobody here has seen nor the one
// that was seen last, which has its whole time, counted from its last renewal.
func (e *Election) abandoned() bool {
	if e.missing.IsZero() {
		e.missing = time.Now()
		e.log.Info("there is no Lease, a leader has time to make it again", "leader", e.holder)
	}
	return time.Since(e.missing) >= missingPauses*e.pause() && (e.lease == nil || e.free())
}

// free tells whether the Lease may be taken: also at the start if the process
// before this one had it under the same name.
func (e *Election) free() bool {
	spec := e.lease.Spec
	held := time.Duration(of(spec.LeaseDurationSeconds)) * time.Second
	holder := of(spec.HolderIdentity)
	ours := holder == e.cfg.Identity && (!e.looked || e.unsure)
	return holder == "" || ours || time.Since(e.seen) > held
}

// look reads the Lease.
func (e *Election) look(ctx context.Context) error {
	var l coordination.Lease
	if err := e.do(ctx, e.cfg.Client.Get().AbsPath(e.path, e.cfg.Name), nil, &l); err != nil {
		return err
	}
	e.missing = time.Time{}
	if e.lease == nil || !reflect.DeepEqual(l.Spec, e.lease.Spec) {
		e.seen = time.Now()
	}
	e.lease = &l
	e.epoch = max(e.epoch, int64(of(l.Spec.LeaseTransitions)))
	return nil
}

func (e *Election) create(ctx context.Context, t *Term, holder string) error {
	l := &coordination.Lease{}
	l.APIVersion, l.Kind, l.Name, l.Namespace = "coordination.k8s.io/v1", "Lease", e.cfg.Name, e.cfg.Namespace
	if t.Found != "" { // of a Lease that was deleted: until the term has something better
		l.Annotations = map[string]string{Annotation: t.Found}
	}
	e.fill(l, t, holder)
	var made coordination.Lease
	if err := e.do(ctx, e.cfg.Client.Post().AbsPath(e.path), l, &made); err != nil {
		return err
	}
	e.lease, e.missing = &made, time.Time{}
	return nil
}

// write updates the Lease, unless somebody has written to it since it was seen.
func (e *Election) write(ctx context.Context, t *Term, holder string) error {
	l := e.lease.DeepCopy()
	l.APIVersion, l.Kind = "coordination.k8s.io/v1", "Lease"
	e.fill(l, t, holder)
	var made coordination.Lease
	if err := e.do(ctx, e.cfg.Client.Put().AbsPath(e.path, e.cfg.Name), l, &made); err != nil {
		return err
	}
	e.lease = &made
	return nil
}

// fill writes a term into a Lease, as client-go's package leaderelection does.
func (e *Election) fill(l *coordination.Lease, t *Term, holder string) {
	now := microTime(time.Now())
	spec := &l.Spec
	if of(spec.HolderIdentity) != holder {
		spec.AcquireTime = now
	}
	seconds := int32(max(1, e.cfg.Duration/time.Second)) //nolint:gosec // the configuration bounds it
	if holder == "" {
		seconds = 1
	}
	spec.HolderIdentity, spec.LeaseDurationSeconds, spec.RenewTime = &holder, &seconds, now
	spec.LeaseTransitions = new(int32(t.Epoch)) //nolint:gosec // read from one
	t.mu.Lock()
	content := t.content
	t.mu.Unlock()
	if content == nil {
		return
	}
	text := content()
	if len(text) > maxContent {
		if e.full.Due() {
			e.log.Error("the watermarks do not fit into the Lease: the next leader begins with older ones", "bytes", len(text), "limit", maxContent)
		}
		return
	}
	if l.Annotations == nil {
		l.Annotations = map[string]string{}
	}
	l.Annotations[Annotation] = text
}

func of[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
