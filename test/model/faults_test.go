package model

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// fault is a way to break something. It has broken nothing any more when it ends,
// which it does soon after ctx.
type fault struct {
	name string
	lane string // faults of one lane come one after the other
	run  func(f *faults, ctx context.Context, d draw)
}

// seldom are faults that come every third time: what they break is announced for many
// objects, and hides what is not.
var seldom = map[string]bool{"compact etcd": true, "compact etcd and restart the API server": true, "delete the Lease": true}

// draw is what a fault chooses by; it depends on the seed alone.
type draw struct {
	which int
	long  float64 // from 0 to 1
	how   int
}

// between is a time from one to another.
func (d draw) between(least, most time.Duration) time.Duration {
	return least + time.Duration(d.long*float64(most-least))
}

// faults breaks things at random.
type faults struct {
	rig  *rig
	rng  *rand.Rand
	deck []fault

	mu    sync.Mutex
	count map[string]int
	log   []string
}

func newFaults(r *rig, seed uint64) *faults {
	f := &faults{rig: r, rng: rand.New(rand.NewPCG(seed, 2*r.setup.number+1)), count: map[string]int{}}
	for _, set := range [][]fault{processFaults, wayFaults, planeFaults, sinkFaults} {
		f.deck = append(f.deck, set...)
	}
	if r.setup.replicas > 1 {
		f.deck = append(f.deck, replicaFaults...)
	}
	if r.setup.reloads {
		f.deck = append(f.deck, slices.Repeat(reloadFaults, 4)...)
	}
	return f
}

// run breaks things until ctx ends. Each kind comes once before any comes again, in
// an order of its own each time; what breaks while its lane is busy is passed over.
func (f *faults) run(ctx context.Context) {
	lanes := map[string]chan func(){}
	var work sync.WaitGroup
	defer work.Wait()
	for _, x := range f.deck {
		if lanes[x.lane] == nil {
			lane := make(chan func())
			lanes[x.lane] = lane
			defer close(lane)
			work.Go(func() {
				for job := range lane {
					job()
				}
			})
		}
	}
	for {
		f.rng.Shuffle(len(f.deck), func(i, j int) { f.deck[i], f.deck[j] = f.deck[j], f.deck[i] })
		for _, x := range slices.Clone(f.deck) {
			passed := seldom[x.name] && f.rng.IntN(3) > 0
			d := draw{f.rng.IntN(1 << 20), f.rng.Float64(), f.rng.IntN(1 << 20)}
			if !wait(ctx, 300*time.Millisecond+time.Duration(f.rng.Float64()*float64(1700*time.Millisecond))) {
				return
			}
			if passed {
				continue
			}
			select {
			case lanes[x.lane] <- func() { f.note("%s", x.name); x.run(f, ctx, d) }:
			default:
			}
		}
	}
}

// note counts a fault.
func (f *faults) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	f.count[text]++
	f.log = append(f.log, time.Now().UTC().Format(time.RFC3339Nano)+" "+text)
}

// said adds to the log what a fault did.
func (f *faults) said(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, time.Now().UTC().Format(time.RFC3339Nano)+"   "+fmt.Sprintf(format, args...))
}

// counts lists how often each was done, and their number.
func (f *faults) counts() (string, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	total := 0
	for name, n := range f.count {
		out = append(out, fmt.Sprintf("%s %d", name, n))
		total += n
	}
	slices.Sort(out)
	return strings.Join(out, ", "), total
}

// wait lets time go by; false: ctx has ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
