package e2e

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// replicas are watchers of which one leads.
type replicas struct {
	t     *testing.T
	c     *cluster
	env   []string
	slots []*replica
}

// replica is one of them, on its own way to the API server.
type replica struct {
	mu sync.Mutex // guards that another process takes its place
	*process
	proxy      *proxy
	kubeconfig string
	env        []string
}

func newReplicas(t *testing.T, c *cluster, n int, binary string, env ...string) *replicas {
	t.Helper()
	r := &replicas{t: t, c: c, env: env}
	for range n {
		s := &replica{}
		s.proxy, s.kubeconfig = newProxy(t, c)
		s.env = c.watcherEnv(append(slices.Clone(env), "KW_KUBECONFIG="+s.kubeconfig, "KW_METRICS_ADDR=127.0.0.1:0")...)
		s.process = startWith(t, binary, nil, s.env...)
		r.slots = append(r.slots, s)
	}
	return r
}

// restart starts a replica that has ended.
func (r *replicas) restart(s *replica) {
	p := startWith(r.t, s.name, nil, s.env...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
}

// current is the process that is in its place.
func (s *replica) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// leader is the replica that leads an epoch, as it says itself.
func (r *replicas) leader(epoch int) *replica {
	for _, s := range r.slots {
		for _, line := range s.stderr.all("leading") {
			if line["epoch"] == float64(epoch) {
				return s
			}
		}
	}
	return nil
}

// epochOf is the term that an event was sent in.
func (a arrival) epochOf(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(a.epoch)
	require.NoError(t, err, "the epoch of %s", a.id)
	return n
}

// newest is the highest epoch that has sent, and when its first event came.
func (s *sink) newest() (epoch int, first time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	epoch = -1
	for i, a := range s.arrivals {
		if n, err := strconv.Atoi(a.epoch); err == nil && n > epoch {
			epoch, first = n, s.at[i]
		}
	}
	return epoch, first
}

// ordered checks what a receiver may rely on: within an epoch the changes of an
// object come in order and once, and what a leader of before sends late is one
// event an object at most. It returns what a receiver keeps that passes over late
// ones, and their number.
func ordered(t *testing.T, arrivals []arrival) (kept []arrival, late int) {
	t.Helper()
	type place struct {
		name  string
		epoch int
	}
	last, newest, lates := map[place]*big.Int{}, map[string]int{}, map[place]int{}
	for _, a := range arrivals {
		epoch := a.epochOf(t)
		at := place{a.name, epoch}
		version, ok := new(big.Int).SetString(strings.Split(a.id, ".")[1], 10)
		require.True(t, ok, a.id)
		if before := last[at]; before != nil {
			require.Positive(t, version.Cmp(before), "%s: %s in epoch %d after version %s", a.name, a.id, epoch, before)
		}
		last[at] = version
		if epoch < newest[a.name] {
			lates[at]++
			late++
			require.LessOrEqual(t, lates[at], 1, "%s: %s is late in epoch %d", a.name, a.id, epoch)
			continue
		}
		newest[a.name] = epoch
		kept = append(kept, a)
	}
	return kept, late
}

// TestFaultFailover has three watchers with one Lease, under a hundred changes a
// second, and takes the leader away in three ways.
func TestFaultFailover(t *testing.T) {
	for _, with := range []struct {
		name    string
		durable bool
	}{{"in memory", false}, {"with KW_STATE_DIR", true}} {
		t.Run(with.name, func(t *testing.T) {
			rounds, duration := 3, "4s"
			if faults(t) {
				rounds, duration = 10, "15s"
			}
			failover(t, rounds, duration, with.durable, "watcher", nil)
		})
	}
}

// failover runs the rounds; watched, if not nil, is called with the replicas when
// they are at work.
func failover(t *testing.T, rounds int, duration string, durable bool, binary string, watched func(*replicas)) {
	const objects, perSecond, workers = 200, 100, 20
	c := newCluster(t)
	l, s := newLedger(c), newSink(t, nil)
	l.createAll(t, objects)
	l.baseline()
	r := newReplicas(t, c, 3, binary, "KW_HANDLERS="+s.URL, "KW_RESOURCES=cm", "KW_LEASE="+c.namespace+"/watchers",
		"KW_LEASE_DURATION="+duration, "KW_RETRY_WAIT_MAX=1s")
	if durable {
		for _, slot := range r.slots {
			_ = slot.stop()
			slot.env = append(slot.env, "KW_STATE_DIR="+t.TempDir())
			r.restart(slot)
		}
	}
	eventually(t, func() bool {
		return slices.ContainsFunc(r.slots, func(s *replica) bool { return s.stderr.find("ready") != nil })
	}, "one leads")
	began, stop, changed := time.Now(), make(chan struct{}), make(chan struct{})
	before := l.count()
	go func() {
		defer close(changed)
		l.each(t, math.MaxInt, workers, func(i int) error {
			select {
			case <-stop:
				return errEnough
			case <-time.After(time.Until(began.Add(time.Duration(i) * time.Second / perSecond))):
				return l.update(fmt.Sprint("c", i%objects))
			}
		})
	}()
	if watched != nil {
		watched(r)
	}
	breaks := map[string]struct{ take, give func(*replica) }{
		"killed": {(*replica).kill9, r.restart},
		"paused": {(*replica).freeze, (*replica).thaw},
		"cut off from the API server": {
			func(s *replica) { s.proxy.set(true) }, func(s *replica) { s.proxy.set(false) },
		},
	}
	seen := -1
	for _, how := range []string{"killed", "paused", "cut off from the API server"} {
		var took []time.Duration
		for range rounds {
			var epoch int
			awaitFor(t, time.Minute, func() bool { epoch, _ = s.newest(); return epoch > seen && r.leader(epoch) != nil }, "a leader sends")
			leader := r.leader(epoch)
			time.Sleep(2 * time.Second) // of changes, and of watermarks
			seen = epoch
			broken := time.Now()
			breaks[how].take(leader)
			awaitFor(t, 2*time.Minute, func() bool { epoch, _ = s.newest(); return epoch > seen }, "another one leads")
			_, first := s.newest()
			took = append(took, first.Sub(broken).Round(100*time.Millisecond))
			time.Sleep(time.Second)
			breaks[how].give(leader)
		}
		t.Logf("leader %s: the next one's first event after %v", how, took)
	}
	close(stop)
	<-changed
	elapsed := time.Since(began)
	awaitFor(t, 2*time.Minute, func() bool { return l.missing(s, false) == 0 }, "everything arrives")
	for _, slot := range r.slots {
		require.Equal(t, 0, slot.stop())
		require.NotContains(t, slot.stderr.String(), "DATA RACE")
	}
	arrivals := s.got()
	kept, late := ordered(t, arrivals)
	what := "leader killed, paused, cut off"
	if durable {
		what += ", each with a state"
	}
	t.Logf("%.0f changes a second; %d duplicates of %d, %d late", float64(l.count()-before)/elapsed.Seconds(),
		len(arrivals)-(l.count()-before), len(arrivals), late)
	judged(t, what, fmt.Sprintf("%d times each", rounds), l.judge(kept, false))
}

func (s *replica) kill9() { s.kill() }

func (s *replica) freeze() { require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGSTOP)) }

func (s *replica) thaw() { require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGCONT)) }
