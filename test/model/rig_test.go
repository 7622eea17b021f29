package model

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
)

// setup is a way to run kwatchman.
type setup struct {
	name     string
	number   uint64 // so that each has choices of its own
	replicas int    // more than one share a Lease
	state    bool
	reloads  bool
}

// rig is a set-up at work: all that is broken, and all that sees it.
type rig struct {
	t          *testing.T
	setup      setup
	folder     string // of logs
	base       string
	namespaces []string
	plane      *plane
	oracle     *oracle
	sinks      *sinks
	file       *configFile // nil: it never changes
	slots      []*slot
	operations *operations

	mu   sync.Mutex
	errs []string
}

func newRig(t *testing.T, p *plane, s setup, seed uint64) *rig {
	t.Helper()
	folder, err := os.MkdirTemp("", "kwatchman-model-logs-")
	require.NoError(t, err)
	r := &rig{t: t, setup: s, folder: folder, base: "model-" + utilrand.String(6) + "-", plane: p}
	for _, name := range []string{"a", "b", "c"} {
		r.namespaces = append(r.namespaces, r.base+name)
	}
	t.Cleanup(r.clean)
	for _, name := range append(slices.Clone(r.namespaces), r.leaseNamespace()) {
		_, err := p.client.Resource(namespaces).Create(t.Context(), manifest("v1", "Namespace", name, nil), metav1.CreateOptions{})
		require.NoError(t, err)
	}
	r.oracle = newOracle(t, p, r.base, r.namespaces)
	r.sinks = newSinks(t)
	r.operations = newOperations(p.client, seed, s.number, r.namespaces)
	if s.reloads {
		r.file = newConfigFile(t, r.sinks, r.namespaces)
	}
	for i := range s.replicas {
		r.slots = append(r.slots, newSlot(t, folder, fmt.Sprint("watcher-", i), r.binary(), p, r.env(t)...))
	}
	require.Eventually(t, func() bool { return r.said(isReady) }, time.Minute, 50*time.Millisecond, "one is ready; logs: %s", folder)
	return r
}

// clean removes what the run has made, and its logs if nothing was wrong.
func (r *rig) clean() {
	ctx := context.Background()
	for _, namespace := range r.namespaces {
		for _, resource := range []string{configMaps.Resource, widgets.Resource} {
			of := configMaps
			if resource == widgets.Resource {
				of = widgets
			}
			_ = r.plane.client.Resource(of).Namespace(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		}
	}
	for _, namespace := range append(slices.Clone(r.namespaces), r.leaseNamespace()) {
		_ = r.plane.client.Resource(namespaces).Delete(ctx, namespace, metav1.DeleteOptions{})
	}
	if r.t.Failed() {
		r.t.Logf("logs, the run and its explanation: %s", r.folder)
		return
	}
	_ = os.RemoveAll(r.folder)
}

func (r *rig) leaseNamespace() string { return r.base + "lease" }

func (r *rig) hasLease(ctx context.Context) bool {
	_, err := r.plane.client.Resource(leases).Namespace(r.leaseNamespace()).Get(ctx, "watchers", metav1.GetOptions{})
	return err == nil
}

// binary: where the file names a built-in function it is the all-in-one.
func (r *rig) binary() string {
	if r.setup.reloads {
		return "kwatchman"
	}
	return "watcher"
}

func (r *rig) env(t *testing.T) []string {
	env := []string{
		"KW_METRICS_ADDR=", "KW_CLUSTER_NAME=model", "KW_DEAD_LETTER=" + r.sinks.URL + letters,
		"KW_TIMEOUT=2s", "KW_RETRY_WAIT_MIN=100ms", "KW_RETRY_WAIT_MAX=1s",
	}
	if r.setup.replicas > 1 {
		env = append(env, "KW_LEASE="+r.leaseNamespace()+"/watchers", "KW_LEASE_DURATION=4s")
	}
	if r.setup.state {
		env = append(env, "KW_STATE_DIR="+t.TempDir())
	}
	if r.setup.reloads {
		return append(env, "KW_CONFIG_FILE="+r.file.path())
	}
	return append(env, "KW_RESOURCES=configmaps,widgets."+group, "KW_NAMESPACE="+strings.Join(r.namespaces, ","),
		"KW_LABEL_SELECTOR="+selector, "KW_HANDLERS="+r.sinks.URL+passOne+","+r.sinks.URL+endOne)
}

// said tells whether any process said a line.
func (r *rig) said(message string) bool {
	for _, p := range r.processes() {
		if _, ok := p.first(time.Time{}, message); ok {
			return true
		}
	}
	return false
}

func (r *rig) processes() []Process {
	var out []Process
	for _, s := range r.slots {
		out = append(out, s.logs()...)
	}
	return out
}

// leader is the replica that began to lead last, if it lives.
func (r *rig) leader() *slot {
	if len(r.slots) == 1 {
		return r.slots[0]
	}
	var leader *slot
	var since time.Time
	for _, s := range r.slots {
		p := s.current()
		if p == nil {
			continue
		}
		for _, l := range p.saw().Log {
			if l.Message == isLeading && l.At.After(since) {
				leader, since = s, l.At
			}
		}
	}
	return leader
}

// taken tells whether everybody has the newest file.
func (r *rig) taken() bool {
	settings, _ := r.file.written()
	_, ok := takenBy(r.processes(), settings[len(settings)-1].At)
	return ok
}

// fail notes an error of the test itself, or of a program.
func (r *rig) fail(err error) {
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.errs = append(r.errs, err.Error())
	}
}

// run is what the judge needs, as far as it has come.
func (r *rig) run() Run {
	c := r.oracle.clock()
	processes := r.processes()
	watched := map[string]bool{}
	for _, namespace := range r.namespaces {
		watched[namespace] = true
	}
	told, _ := r.sinks.got(watched)
	out := Run{History: r.oracle.history(), Told: told}
	for _, p := range processes {
		out.Announced = append(out.Announced, Announcements(p.Log, c.after)...)
	}
	if r.file != nil {
		settings, _ := r.file.written()
		for _, resource := range []string{"configmaps", "widgets." + group} {
			for _, namespace := range r.namespaces {
				out.Unwatched = append(out.Unwatched, unwatched(settings, processes, resource, namespace, c)...)
			}
		}
	}
	return out
}

// keep writes the run and what is wrong with it beside the logs.
func (r *rig) keep(run Run, v *Verdict, f *faults) {
	type told struct {
		Of     string
		States []State
	}
	var history []told
	for _, k := range sorted(run.History) {
		history = append(history, told{k.String(), run.History[k]})
	}
	text, err := json.MarshalIndent(map[string]any{
		"history": history, "told": run.Told, "announced": run.Announced, "unwatched": run.Unwatched, "faults": f.log,
	}, "", " ")
	r.fail(err)
	r.fail(os.WriteFile(filepath.Join(r.folder, "run.json"), text, 0o600))
	r.fail(os.WriteFile(filepath.Join(r.folder, "findings.txt"), []byte(explain(run, v, f.log)), 0o600))
}
