package model

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// operations change objects at random. What they choose depends on the seed alone;
// what becomes of it is what etcd says.
type operations struct {
	client dynamic.Interface
	rng    *rand.Rand
	all    []target
	there  map[target]bool // as far as every operation did what it should
	value  int

	jobs    chan job
	done    atomic.Int64 // that the API server confirmed
	refused atomic.Int64
}

// target is an object that is changed.
type target struct {
	resource  schema.GroupVersionResource
	kind      string
	namespace string
	name      string
}

func (t target) key() Key { return Key{t.resource.GroupResource().String(), t.namespace, t.name} }

// job is what is done to one object, step by step.
type job struct {
	target
	steps []step
}

// step is a request: a patch, which makes the object if it is not there, or a Delete.
type step struct {
	delete bool
	value  int
	label  string
}

func newOperations(client dynamic.Interface, seed, number uint64, namespaces []string) *operations {
	o := &operations{client: client, rng: rand.New(rand.NewPCG(seed, 2*number)), there: map[target]bool{}, jobs: make(chan job)}
	for _, namespace := range namespaces {
		for i := range 6 {
			o.all = append(o.all, target{configMaps, "ConfigMap", namespace, fmt.Sprint("c", i)})
		}
		for i := range 4 {
			o.all = append(o.all, target{widgets, "Widget", namespace, fmt.Sprint("w", i)})
		}
	}
	return o
}

// workers make changes side by side, so that those of one object may overtake each
// other.
const workers = 4

// run makes about twenty changes a second until ctx ends.
func (o *operations) run(ctx context.Context) {
	var work sync.WaitGroup
	for range workers {
		work.Go(func() {
			for j := range o.jobs {
				o.perform(j)
			}
		})
	}
	defer work.Wait()
	defer close(o.jobs)
	tick := time.NewTicker(80 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, j := range o.next() {
			select {
			case <-ctx.Done():
				return
			case o.jobs <- j:
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// next chooses what is done.
func (o *operations) next() []job {
	t := o.all[o.rng.IntN(len(o.all))]
	switch n := o.rng.IntN(100); {
	case n < 6: // several objects at once
		var out []job
		for range 4 + o.rng.IntN(8) {
			out = append(out, o.update(o.all[o.rng.IntN(len(o.all))], 1))
		}
		return out
	case n < 11: // one object, one after the other
		return []job{o.update(t, 3+o.rng.IntN(8))}
	case n < 15: // one object, by several at once
		return []job{o.update(t, 2), o.update(t, 2), o.update(t, 2)}
	case n < 20: // a patch that changes nothing
		j := o.update(t, 1)
		j.steps = append(j.steps, j.steps[0])
		return []job{j}
	case n < 28:
		o.there[t] = false
		return []job{{t, []step{{delete: true}}}}
	case n < 34: // the same name at once
		j := o.update(t, 1)
		j.steps = append([]step{{delete: true}}, j.steps...)
		return []job{j}
	case n < 42:
		return []job{o.labelled(t)}
	case n < 50: // one that is not there, if any is
		for _, other := range o.all {
			if !o.there[other] {
				t = other
				break
			}
		}
	}
	return []job{o.update(t, 1)}
}

// update changes an object some times, or makes it.
func (o *operations) update(t target, times int) job {
	j := job{target: t}
	for range times {
		o.value++
		j.steps = append(j.steps, step{value: o.value, label: "in"})
	}
	o.there[t] = true
	return j
}

// labelled takes an object out of what is selected, and as a rule back in.
func (o *operations) labelled(t target) job {
	j := o.update(t, 1)
	j.steps[0].label = outValue
	if o.rng.IntN(4) > 0 {
		j.steps = append(j.steps, o.update(t, 1).steps...)
	}
	return j
}

func (o *operations) perform(j job) {
	for _, s := range j.steps {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err := o.request(ctx, j.target, s)
		cancel()
		if err != nil {
			o.refused.Add(1)
			return
		}
		o.done.Add(1)
	}
}

func (o *operations) request(ctx context.Context, t target, s step) error {
	r := o.client.Resource(t.resource).Namespace(t.namespace)
	if s.delete {
		return r.Delete(ctx, t.name, metav1.DeleteOptions{})
	}
	content := map[string]any{
		"metadata": map[string]any{"labels": map[string]any{outLabel: s.label}},
		"data":     map[string]any{"n": fmt.Sprint(s.value)},
	}
	patch, err := json.Marshal(content)
	if err != nil {
		return err
	}
	_, err = r.Patch(ctx, t.name, "application/merge-patch+json", patch, metav1.PatchOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	m := manifest(t.resource.GroupVersion().String(), t.kind, t.name, map[string]any{"data": content["data"]})
	m.SetLabels(map[string]string{outLabel: s.label})
	_, err = r.Create(ctx, m, metav1.CreateOptions{})
	return err
}

// manifest is an object of a kind with further top-level fields.
func manifest(apiVersion, kind, name string, fields map[string]any) *unstructured.Unstructured {
	m := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name}}
	for k, v := range fields {
		m[k] = v
	}
	return &unstructured.Unstructured{Object: m}
}
