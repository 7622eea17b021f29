package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternal "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/kwatchman/kwatchman/internal/seldom"
)

// errResume makes the reflector fall back from a streaming list to List, which
// answers from the resume point.
var errResume = errors.New("resume the watch instead of listing")

// errNoStreamingList makes the reflector fall back to List, whatever kept the
// streaming list from working: List's own error is the one that is reported.
var errNoStreamingList = errors.New("streaming list not served")

// resumeAttempts is how often in a row a watch may fail to resume because of
// what there is to read before the objects are listed instead.
const resumeAttempts = 5

// listWatch is the reflector's view of one resource. It differs from client-go's
// own in two ways: objects are packed as they are decoded, so that no list is
// ever in memory unpacked, and a watch that broke is resumed where it was, as
// long as the server has that history, so that no change is folded into
// another. It stands on rest.Request.Stream because client-go's decoder costs
// several times more.
type listWatch struct {
	client        rest.Interface
	path          string
	labelSelector string
	fieldSelector string
	decoder       decoder

	log       *slog.Logger
	explain   func(error) error // one line for people
	notServed func()
	restarted func()          // a watch was opened again
	beat      func()          // there is life: something is asked for or comes
	down      func(delta int) // the watch cannot be followed, or can again

	reason string      // why it fails, as it was said
	again  seldom.Line // another reason is worth a line, but not each of them

	mu       sync.Mutex
	failing  bool      // it has been said
	version  string    // where a watch can resume; empty: nowhere
	fresh    time.Time // when a list gave version; zero: none did
	oldest   string    // the first version that the server has history from; empty: the newest state is listed
	went     bool      // since the last progress that has been tried
	refused  int       // resumes refused in a row
	resumed  bool      // the last List answered from the resume point
	watched  bool      // a watch has been opened before
	opened   bool      // and since takeWatched
	reported bool      // the first list has been reported
	past     bool      // the last List answered with a state of the past
	closed   bool
	streams  sync.WaitGroup
}

// ListWithContext answers from the resume point if there is one, with no items, and the
// store passes over that list; else it reads the objects page by page.
func (lw *listWatch) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	lw.beat()
	if !lw.enter() {
		return nil, context.Canceled
	}
	defer lw.streams.Done()
	lw.mu.Lock()
	version := lw.version
	lw.resumed = version != ""
	lw.mu.Unlock()
	if version != "" {
		return &metainternal.List{ListMeta: metav1.ListMeta{ResourceVersion: version}}, nil
	}
	body, err := lw.openList(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer closeBody(body)
	return lw.decoder.list(body)
}

// openList lists the state where the server's history begins, if it said where:
// what comes after it is watched, change by change. Else, or where that state is
// compacted, it lists the newest state, not one that some server's cache happens
// to have.
func (lw *listWatch) openList(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
	opts.ResourceVersion, opts.ResourceVersionMatch = "", ""
	if opts.Continue == "" {
		if oldest := lw.takeOldest(); oldest != "" {
			past := opts
			past.ResourceVersion, past.ResourceVersionMatch = oldest, metav1.ResourceVersionMatchExact
			body, err := lw.open(ctx, past)
			if err == nil {
				lw.answeredPast()
				return body, nil
			}
			lw.log.Debug("the state where the API server's history begins cannot be listed", "version", oldest, "error", err)
		}
	}
	return lw.open(ctx, opts)
}

func (lw *listWatch) answeredPast() {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	lw.past = true
}

// takePast tells, once, that the list just given was of the past.
func (lw *listWatch) takePast() bool {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	p := lw.past
	lw.past = false
	return p
}

// takeOldest gives, once, where the server's history begins.
func (lw *listWatch) takeOldest() string {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	o := lw.oldest
	lw.oldest = ""
	return o
}

// tooOld is how an API server says where its history begins; one that says it
// otherwise is listed anew.
var tooOld = regexp.MustCompile(`too old resource version: \d+ \((\d+)\)`)

// historyFrom is where a server's history begins, as far as it says so.
func historyFrom(err error) string {
	if m := tooOld.FindStringSubmatch(err.Error()); m != nil {
		return m[1]
	}
	return ""
}

// WatchWithContext opens a watch, or a streaming list where the reflector asks for the
// initial events.
func (lw *listWatch) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	lw.beat()
	initial := opts.SendInitialEvents != nil && *opts.SendInitialEvents
	if initial {
		if lw.lists() {
			return nil, errResume
		}
		opts.ResourceVersion = "" // the newest state
	}
	if !lw.enter() {
		return nil, context.Canceled
	}
	opts.Watch = true
	var body io.ReadCloser
	var err error
	if !initial {
		err = lw.checkHistory(ctx, opts.ResourceVersion)
	}
	if err == nil {
		body, err = lw.open(ctx, opts)
	}
	if err != nil {
		lw.streams.Done()
		if initial {
			return nil, errNoStreamingList
		}
		lw.note(err)
		return nil, err
	}
	if lw.everWatched() {
		lw.restarted()
	}
	lw.note(nil)
	d := lw.decoder
	d.bulk = initial
	w := newStream(body, d, lw.note, lw.beat)
	go func() {
		defer lw.streams.Done()
		w.run()
	}()
	return w, nil
}

// checkHistory looks whether the server has the version to resume at in its
// past. An API server whose etcd was restored may be behind it, and a watch would
// wait, deaf, until that version comes anew. A version that cannot be compared
// is taken for good.
func (lw *listWatch) checkHistory(ctx context.Context, version string) error {
	if lw.takeFresh() {
		return nil
	}
	body, err := lw.open(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return err
	}
	defer closeBody(body)
	var list struct{ Metadata metav1.ListMeta }
	if err := json.NewDecoder(body).Decode(&list); err != nil {
		return fmt.Errorf("decode list: %w", listError(err))
	}
	if c, err := resourceversion.CompareResourceVersion(version, list.Metadata.ResourceVersion); err != nil || c <= 0 {
		return nil
	}
	lw.log.Warn("the API server's history went back behind what was seen, as after a restore of its data",
		"seen", version, "now", list.Metadata.ResourceVersion)
	return apierrors.NewResourceExpired("the API server's history went back")
}

// freshFor is how long nobody doubts the version that a list gave.
const freshFor = 10 * time.Second

// takeFresh tells, once, that the version to resume at comes from a list.
func (lw *listWatch) takeFresh() bool {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	f := time.Since(lw.fresh) < freshFor
	lw.fresh = time.Time{}
	return f
}

// listed moves the resume point to the version of a list.
func (lw *listWatch) listed(version string) {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	lw.version, lw.refused, lw.fresh = version, 0, time.Now()
}

// open starts a request; the caller closes the body.
func (lw *listWatch) open(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
	opts.LabelSelector, opts.FieldSelector = lw.labelSelector, lw.fieldSelector
	return lw.client.Get().AbsPath(lw.path).
		SpecificallyVersionedParams(&opts, metav1.ParameterCodec, schema.GroupVersion{Version: "v1"}).
		SetHeader("Accept", "application/json").
		Stream(ctx)
}

// note learns from how a watch was answered. After 410 or 404 there is nothing
// to resume and the objects are listed; also when the version asked for stays
// ahead of the server (its etcd was restored) or what it sends stays
// unreadable. A server in trouble, unreachable or refusing the credentials says
// nothing about its history: the watch is resumed when it is well again, and no
// change is folded into another.
func (lw *listWatch) note(err error) {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	switch {
	case err == nil:
		lw.watched, lw.opened = true, true
		if lw.failing {
			lw.log.Info("watching again")
			lw.down(-1)
		}
		lw.failing = false
	case apierrors.IsGone(err), apierrors.IsResourceExpired(err), apierrors.IsNotFound(err):
		if lw.version, lw.refused, lw.oldest = "", 0, ""; !lw.went {
			lw.oldest = historyFrom(err)
			lw.went = lw.oldest != ""
		}
		return // the list that follows says what became of it
	case apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge),
		apierrors.HasStatusCause(err, causeBroken), apierrors.IsBadRequest(err), apierrors.IsInvalid(err):
		if lw.refused++; lw.refused >= resumeAttempts {
			lw.version, lw.refused = "", 0
		}
	}
	if err != nil && lw.watched { // before, it is the reason why there is no start
		lw.sayFailed(err)
	}
}

// failed says once that the API server cannot be followed, until it can again.
func (lw *listWatch) failed(err error) {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	lw.sayFailed(err)
}

// sayFailed: see failed; the caller holds mu.
func (lw *listWatch) sayFailed(err error) {
	if apierrors.IsNotFound(err) {
		defer lw.notServed()
	}
	why := lw.explain(err)
	level := slog.LevelDebug
	if !lw.failing || why.Error() != lw.reason && lw.again.Due() {
		level, lw.reason = slog.LevelWarn, why.Error()
	}
	if !lw.failing {
		lw.down(1)
	}
	lw.failing = true
	lw.log.Log(context.Background(), level, "watch fails, trying again", "error", why)
}

// end takes back that the watch is down: nobody follows it any more.
func (lw *listWatch) end() {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	if lw.failing {
		lw.failing = false
		lw.down(-1)
	}
}

// progress moves the resume point: all up to version is in the store.
func (lw *listWatch) progress(version string) {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	lw.version, lw.refused, lw.went = version, 0, false
}

// lists tells whether List knows better than a streaming list what is to be
// listed: nothing, or a state of the past.
func (lw *listWatch) lists() bool {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	return lw.version != "" || lw.oldest != ""
}

func (lw *listWatch) resumePoint() string {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	return lw.version
}

// takeResumed tells, once, that the list just given was a resume.
func (lw *listWatch) takeResumed() bool {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	r := lw.resumed
	lw.resumed = false
	return r
}

func (lw *listWatch) everWatched() bool {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	return lw.watched
}

// takeWatched tells whether a watch has been opened since it was last asked.
func (lw *listWatch) takeWatched() bool {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	o := lw.opened
	lw.opened = false
	return o
}

func (lw *listWatch) wasReported() bool {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	return lw.reported
}

// markSynced tells whether this was the first list.
func (lw *listWatch) markSynced() bool {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	first := !lw.reported
	lw.reported = true
	return first
}

// List and Watch are the older half of client-go's interface, which the
// reflector does not call.
func (lw *listWatch) List(opts metav1.ListOptions) (runtime.Object, error) {
	return lw.ListWithContext(context.Background(), opts)
}

// Watch: see List.
func (lw *listWatch) Watch(opts metav1.ListOptions) (watch.Interface, error) {
	return lw.WatchWithContext(context.Background(), opts)
}

// enter counts a request that close waits for.
func (lw *listWatch) enter() bool {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	if lw.closed {
		return false
	}
	lw.streams.Add(1)
	return true
}

// close waits for all requests, whose context has ended.
func (lw *listWatch) close() {
	lw.mu.Lock()
	lw.closed = true
	lw.mu.Unlock()
	lw.streams.Wait()
}
