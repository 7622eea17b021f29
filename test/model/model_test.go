package model

import (
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var setups = []setup{
	{name: "one watcher with a state", number: 1, replicas: 1, state: true},
	{name: "one watcher with a state and reloads", number: 2, replicas: 1, state: true, reloads: true},
	{name: "three replicas", number: 3, replicas: 3},
	{name: "three replicas, each with a state", number: 4, replicas: 3, state: true},
	{name: "three replicas and reloads", number: 5, replicas: 3, reloads: true},
}

// TestModelAgreesWithWhatIsTold changes objects and breaks things at random, and then
// asks the judge.
func TestModelAgreesWithWhatIsTold(t *testing.T) {
	whole, seeds := asked(t)
	var chosen []setup
	for _, s := range setups {
		if strings.Contains(s.name, os.Getenv(setupEnv)) {
			chosen = append(chosen, s)
		}
	}
	require.NotEmpty(t, chosen, setupEnv)
	p := newPlane(t)
	for _, seed := range seeds {
		for _, s := range chosen {
			t.Run(fmt.Sprintf("seed %d/%s", seed, s.name), func(t *testing.T) {
				during(t, p, s, seed, whole/time.Duration(len(chosen)))
			})
		}
	}
}

// settling is the part of the time in which nothing is broken any more. What must
// come may take longer: see patience.
const settling = 8 * time.Second

// How long a run waits for what must come: as long as it comes, and then longer than
// a watcher takes to look for the API server again, 22 s at worst.
const (
	patience = 2 * time.Minute
	quiet    = 40 * time.Second
)

// tooLong is how much longer than its time a run may take before it counts as one
// that hangs.
const tooLong = 10 * time.Minute

func during(t *testing.T, p *plane, s setup, seed uint64, whole time.Duration) {
	hanging := time.AfterFunc(whole+tooLong, func() {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
		_, _ = fmt.Fprintf(os.Stderr, "\n--- FAIL: %s has not ended after %s\n", t.Name(), whole+tooLong)
		os.Exit(1)
	})
	defer hanging.Stop()
	t.Logf("seed %d: MODEL_SEED=%d", seed, seed)
	r := newRig(t, p, s, seed)
	f := newFaults(r, seed)
	ctx, cancel := context.WithTimeout(context.Background(), max(whole-settling, 10*time.Second))
	defer cancel()
	var work sync.WaitGroup
	work.Go(func() { r.operations.run(ctx) })
	work.Go(func() { f.run(ctx) })
	work.Wait()
	r.mend(t)
	r.await()
	for _, slot := range r.slots {
		r.fail(slot.stop())
	}
	r.fence(t)
	r.judge(t, f, seed)
}

// mend ends all that is broken, and has every watcher run.
func (r *rig) mend(t *testing.T) {
	require.Eventually(t, func() bool {
		_, err := r.plane.client.Resource(widgets).List(t.Context(), metav1.ListOptions{Limit: 1})
		return err == nil
	}, time.Minute, 100*time.Millisecond, "the API server is back")
	for _, s := range r.slots {
		s.proxy.set(false)
		s.freeze(false)
		r.fail(s.start())
	}
}

// await waits until all has come that must, and a little longer for what must not.
func (r *rig) await() {
	begin := time.Now()
	last, arrived := begin, 0
	for ; time.Since(begin) < patience && time.Since(last) < quiet; time.Sleep(time.Second) {
		v := Judge(r.run())
		if v.Count(Missing, false) == 0 {
			break
		}
		if v.Arrived > arrived {
			last, arrived = time.Now(), v.Arrived
		}
	}
	time.Sleep(2 * time.Second)
}

// fence waits until the oracle has seen all that happened.
func (r *rig) fence(t *testing.T) {
	namespace := r.namespaces[0]
	for _, of := range []target{{configMaps, "ConfigMap", namespace, "fence"}, {widgets, "Widget", namespace, "fence"}} {
		m := manifest(of.resource.GroupVersion().String(), of.kind, of.name, nil)
		m.SetLabels(map[string]string{outLabel: outValue})
		require.Eventually(t, func() bool {
			_, err := r.plane.client.Resource(of.resource).Namespace(namespace).Create(t.Context(), m, metav1.CreateOptions{})
			return err == nil
		}, time.Minute, 100*time.Millisecond, "the API server takes a last object")
		require.Eventually(t, func() bool { return r.oracle.has(of.key()) }, time.Minute, 20*time.Millisecond, "etcd shows it")
	}
	time.Sleep(200 * time.Millisecond) // of samples
	require.NoError(t, r.oracle.err())
}

func (r *rig) judge(t *testing.T, f *faults, seed uint64) {
	run := r.run()
	v := Judge(run)
	r.keep(run, v, f)
	counts, total := f.counts()
	rows.add(fmt.Sprintf("%s\t%d\t%d\t%d\t%s", r.setup.name, seed, r.operations.done.Load(), total, v.Row()))
	t.Logf("faults: %s", counts)
	said := map[string]int{}
	for _, a := range run.Announced {
		said[a.Line]++
	}
	for line, n := range said {
		t.Logf("announced %d times: %s", n, line)
	}
	for _, s := range r.slots {
		if ends := s.ended(); len(ends) > 0 {
			t.Logf("%s ended by itself %d times and was started again, the last time with %s", s.name, len(ends), ends[len(ends)-1])
		}
	}
	require.NotEmpty(t, run.Told)
	_, errs := r.sinks.got(nil)
	for _, s := range r.slots {
		errs = append(errs, s.trouble()...)
	}
	if r.file != nil {
		_, err := r.file.written()
		r.fail(err)
	}
	assert.Empty(t, append(errs, r.errs...), "no program or endpoint had trouble")
	unannounced := v.Unannounced()
	for _, finding := range unannounced[:min(10, len(unannounced))] {
		t.Log(finding)
	}
	if n := len(unannounced); n > 0 {
		t.Errorf("%d findings that nothing announced, of which the first are above: MODEL_SEED=%d", n, seed)
	}
}
