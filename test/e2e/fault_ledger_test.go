package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/kwatchman/kwatchman/event"
)

// ledger is what was really done to the ConfigMaps of a namespace, by the
// answers of the API server: what has to arrive. Each object is changed by one
// goroutine at a time.
type ledger struct {
	client    dynamic.ResourceInterface
	direct    dynamic.ResourceInterface // past what a test breaks
	namespace string
	values    atomic.Int64

	mu       sync.Mutex
	expected map[string][]expected // by name
	known    map[string]string     // version that the watcher knows from its baseline: uid.resourceVersion
}

// expected is one change. old and now are uid.resourceVersion, or nothing.
type expected struct{ id, old, now string }

func newLedger(c *cluster) *ledger {
	r := c.client.Resource(configMaps).Namespace(c.namespace)
	return &ledger{client: r, direct: r, namespace: c.namespace, expected: map[string][]expected{}, known: map[string]string{}}
}

// baseline takes what was done so far as known to the watcher.
func (l *ledger) baseline() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, all := range l.expected {
		l.known[name] = all[len(all)-1].now
		l.expected[name] = nil
	}
}

func (l *ledger) last(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if all := l.expected[name]; len(all) > 0 {
		return all[len(all)-1].now
	}
	return l.known[name]
}

func (l *ledger) note(name string, action event.Action, old, now string) {
	of := now
	if action == event.Delete {
		of = old
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expected[name] = append(l.expected[name], expected{strings.ToLower(of + "." + string(action)), old, now})
}

func versionOf(o *unstructured.Unstructured) string {
	return string(o.GetUID()) + "." + o.GetResourceVersion()
}

func (l *ledger) create(name string) error {
	o := configMap(name, map[string]any{"n": "0", "text": strings.Repeat(name+" ", 40)})
	made, err := l.client.Create(context.Background(), o, metav1.CreateOptions{FieldManager: "e2e"})
	if err != nil {
		return err
	}
	l.note(name, event.Add, "", versionOf(made))
	return nil
}

// noServer is how long an API server may be away.
const noServer = 30 * time.Minute

// update changes an object. When the API server gives no answer, it is asked
// until it says whether the change was made.
func (l *ledger) update(name string) error {
	patch := fmt.Sprintf(`{"data":{"n":"%d"}}`, l.values.Add(1)) // each is another
	old := l.last(name)
	now, err := l.client.Patch(context.Background(), name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{FieldManager: "e2e"})
	for begin := time.Now(); err != nil && time.Since(begin) < noServer; {
		time.Sleep(200 * time.Millisecond)
		if now, err = l.direct.Get(context.Background(), name, metav1.GetOptions{}); apierrors.IsNotFound(err) {
			return err
		}
	}
	if err != nil {
		return err
	}
	if v := versionOf(now); v != old {
		l.note(name, event.Update, old, v)
	}
	return nil
}

func (l *ledger) delete(name string) error {
	old := l.last(name)
	if err := l.client.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	l.note(name, event.Delete, old, "")
	return nil
}

// errEnough ends each.
var errEnough = errors.New("enough")

// each runs of for numbers from 0, by several goroutines, the same number mod
// n always by the same.
func (l *ledger) each(t *testing.T, count, workers int, of func(i int) error) {
	t.Helper()
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for i := w; i < count; i += workers {
				err := of(i)
				if errors.Is(err, errEnough) {
					return
				}
				if err != nil {
					t.Errorf("change %d: %v", i, err)
					return
				}
			}
		})
	}
	running.Wait()
}

// createAll makes n objects.
func (l *ledger) createAll(t *testing.T, n int) {
	t.Helper()
	l.each(t, n, 16, func(i int) error { return l.create(fmt.Sprint("c", i)) })
}

// updateAll makes count changes spread over n objects.
func (l *ledger) updateAll(t *testing.T, n, count int, pause time.Duration) {
	t.Helper()
	workers := min(n, 16)
	for n%workers != 0 { // each object belongs to one worker
		workers--
	}
	l.each(t, count, workers, func(i int) error {
		if pause > 0 {
			time.Sleep(rand.N(2 * pause))
		}
		return l.update(fmt.Sprint("c", i%n))
	})
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, all := range l.expected {
		n += len(all)
	}
	return n
}

// ids are those of all changes so far.
func (l *ledger) ids() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]bool{}
	for _, all := range l.expected {
		for _, e := range all {
			out[e.id] = true
		}
	}
	return out
}

// arrival is an event that a sink accepted.
type arrival struct{ id, name, old, now, via, epoch string }

func arrived(e event.Event) arrival {
	version := func(raw json.RawMessage) string {
		var m struct {
			Metadata struct{ UID, ResourceVersion string }
		}
		if len(raw) == 0 || json.Unmarshal(raw, &m) != nil {
			return ""
		}
		return m.Metadata.UID + "." + m.Metadata.ResourceVersion
	}
	return arrival{e.ID, e.Name, version(e.OldObject), version(e.Object), e.Via, e.Extensions["epoch"]}
}

// verdict compares what arrived with what was done.
type verdict struct {
	sent, arrived, missing, duplicates, disorder, wrongOld, invented int
	notes                                                            []string
}

func (v *verdict) note(format string, args ...any) {
	if len(v.notes) < 10 {
		v.notes = append(v.notes, fmt.Sprintf(format, args...))
	}
}

// judge compares. merged tells that a gap may have folded changes into one: then
// all states that arrive have to follow one another and end in the last.
func (l *ledger) judge(arrivals []arrival, merged bool) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	var v verdict
	byName := map[string][]arrival{}
	seen := map[string]bool{}
	for _, a := range arrivals {
		v.arrived++
		if seen[a.id] {
			v.duplicates++
			continue
		}
		seen[a.id] = true
		byName[a.name] = append(byName[a.name], a)
	}
	for name, all := range l.expected {
		v.sent += len(all)
		l.judgeOne(&v, name, all, byName[name], merged)
		delete(byName, name)
	}
	for name, all := range byName {
		v.invented += len(all)
		v.note("%s: %v was never done", name, all)
	}
	return v
}

func (l *ledger) judgeOne(v *verdict, name string, all []expected, got []arrival, merged bool) {
	place := map[string]int{l.known[name]: 0} // of a state
	for i, e := range all {
		if e.now != "" {
			place[e.now] = i + 1
		}
	}
	last, at := l.known[name], 0
	ids := map[string]bool{}
	for _, a := range got {
		ids[a.id] = true
		if a.old != last {
			v.wrongOld++
			v.note("%s: %s has the old object %q instead of %q", name, a.id, a.old, last)
		}
		last = a.now
		if a.now == "" {
			continue
		}
		to, ok := place[a.now]
		switch {
		case !ok:
			v.invented++
			v.note("%s: %s was never done", name, a.id)
		case to <= at && at > 0:
			v.disorder++
			v.note("%s: %s came after the state %d", name, a.id, at)
		}
		at = to
	}
	if merged {
		if len(all) > 0 && all[len(all)-1].now != last {
			v.missing++
			v.note("%s: the last state is %q, %q arrived", name, all[len(all)-1].now, last)
		}
		return
	}
	for _, e := range all {
		if !ids[e.id] {
			v.missing++
			v.note("%s: %s is missing", name, e.id)
		}
		delete(ids, e.id)
	}
	for id := range ids {
		v.invented++
		v.note("%s: %s was never done", name, id)
	}
}
