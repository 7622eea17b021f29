package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// soakEnv is how often the soak takes the leader away in each of the three ways;
// ten times take ten minutes. soakPlotEnv is where its plot is written.
const (
	soakEnv     = "KWATCHMAN_SOAK"
	soakPlotEnv = "KWATCHMAN_SOAK_PLOT"
)

// inspected is a process that is measured; it may be followed by another one.
type inspected struct {
	name    string
	process func() *process
	serves  string // the line that says where its metrics are
}

// measure is what a process takes at one time; it is nil while there is none.
type measure struct{ rss, goroutines, files float64 }

// soak is what was measured, every few seconds.
type soak struct {
	names []string
	every time.Duration
	rows  [][]*measure // at each time, by process
}

const soakEvery = 3 * time.Second

// goroutines is that line of a program's metrics.
var goroutines = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

// take measures a process, or gives nil if it is paused or gone.
func (w *inspected) take() *measure {
	p := w.process()
	line := p.stderr.find(w.serves)
	if line == nil {
		return nil
	}
	_, port, err := net.SplitHostPort(line["address"].(string))
	if err != nil {
		return nil
	}
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get("http://127.0.0.1:" + port + "/metrics")
	if err != nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	found := goroutines.FindSubmatch(text)
	status, err2 := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	files, err3 := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	_, after, ok := strings.Cut(string(status), "VmRSS:")
	if errors.Join(err, err2, err3) != nil || found == nil || !ok {
		return nil
	}
	m := &measure{files: float64(len(files))}
	m.goroutines, _ = strconv.ParseFloat(string(found[1]), 64)
	_, _ = fmt.Sscan(after, &m.rss)
	m.rss /= 1024
	return m
}

// run measures until stop is closed.
func (s *soak) run(all []*inspected, stop <-chan struct{}) {
	s.every = soakEvery
	for _, w := range all {
		s.names = append(s.names, w.name)
	}
	tick := time.NewTicker(soakEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		var row []*measure
		for _, w := range all {
			row = append(row, w.take())
		}
		s.rows = append(s.rows, row)
	}
}

// median is that of a value of one process over a part of the time.
func (s *soak) median(process int, from, to float64, of func(*measure) float64) float64 {
	var all []float64
	for _, row := range s.rows[int(from*float64(len(s.rows))):int(to*float64(len(s.rows)))] {
		if m := row[process]; m != nil {
			all = append(all, of(m))
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0
	}
	return all[len(all)/2]
}

// soakValues are what has to stay flat, with how much the end may be above the
// middle: the memory of a heap varies by what it was doing last, and two endpoints
// have as many connections, open for a while, as attempts were under way at once.
var soakValues = []struct {
	name  string
	of    func(*measure) float64
	slack func(middle float64) float64
}{
	{"RSS in MB", func(m *measure) float64 { return m.rss }, func(v float64) float64 { return v/5 + 2 }},
	{"goroutines", func(m *measure) float64 { return m.goroutines }, func(v float64) float64 { return v/5 + 6*loneConcurrency }},
	{"file descriptors", func(m *measure) float64 { return m.files }, func(v float64) float64 { return v/5 + 2*loneConcurrency }},
}

// flat fails the test if something grows from the middle of the time to its end.
func (s *soak) flat(t *testing.T) {
	t.Helper()
	for i, name := range s.names {
		for _, v := range soakValues {
			middle, end := s.median(i, .4, .6, v.of), s.median(i, .8, 1, v.of)
			t.Logf("%-22s %-16s %7.1f in the middle, %7.1f at the end", name, v.name, middle, end)
			require.Positive(t, end, "%s: %s is measured", name, v.name)
			require.LessOrEqual(t, end, middle+v.slack(middle), "%s: %s grow", name, v.name)
		}
	}
}

// TestSoak takes the leader of three watchers away for ten minutes, while the
// sink and the API server of a fourth one, with a state, fail now and then.
func TestSoak(t *testing.T) {
	text := os.Getenv(soakEnv)
	if text == "" {
		t.Skip("takes ten minutes: run it with make soak")
	}
	rounds, err := strconv.Atoi(text)
	require.NoError(t, err, soakEnv)
	lone := newLone(t)
	stop := make(chan struct{})
	var s soak
	var work sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(stop)
		work.Wait()
	})
	defer end()
	failover(t, rounds, "15s", false, "plain", func(r *replicas) {
		all := lone.processes()
		for i, slot := range r.slots {
			all = append(all, &inspected{fmt.Sprintf("replica %d", i+1), slot.current, "serving health"})
		}
		work.Go(func() { s.run(all, stop) })
		work.Go(func() { lone.change(stop) })
		work.Go(func() { lone.fail(stop) })
	})
	end()
	lone.judge(rounds)
	s.flat(t)
	if path := os.Getenv(soakPlotEnv); path != "" {
		require.NoError(t, os.WriteFile(filepath.Clean(path), s.plot(), 0o600))
	}
}

// lone is a watcher with a state and without a Lease, behind which are diff and
// a sink.
type lone struct {
	t     *testing.T
	l     *ledger
	sink  *sink
	proxy *proxy
	diff  *process
	w     *process
}

const loneObjects, loneConcurrency = 100, 4

func newLone(t *testing.T) *lone {
	c := newCluster(t)
	o := &lone{t: t, l: newLedger(c), sink: newSink(t, nil)}
	o.l.createAll(t, loneObjects)
	o.l.baseline()
	o.diff = startWith(t, "plain-diff", nil, "PORT=0", "METRICS_PORT=0")
	o.diff.await("listening")
	var kubeconfig string
	o.proxy, kubeconfig = newProxy(t, c)
	o.w = startWith(t, "plain", nil, c.watcherEnv("KW_KUBECONFIG="+kubeconfig, "KW_HANDLERS="+o.diff.address("listening")+","+o.sink.URL,
		"KW_RESOURCES=cm", "KW_STATE_DIR="+t.TempDir(), "KW_METRICS_ADDR=127.0.0.1:0", "KW_TIMEOUT=3s", "KW_RETRY_WAIT_MAX=2s", "KW_CONCURRENCY="+fmt.Sprint(loneConcurrency))...)
	o.w.await("ready")
	return o
}

func (o *lone) processes() []*inspected {
	return []*inspected{
		{"watcher with a state", func() *process { return o.w }, "serving health"},
		{"diff", func() *process { return o.diff }, "serving metrics"},
	}
}

// change makes ten changes a second.
func (o *lone) change(stop <-chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
		if err := o.l.update(fmt.Sprint("c", i%loneObjects)); err != nil {
			o.t.Errorf("change %d: %v", i, err)
			return
		}
	}
}

// fail breaks the sink for ten seconds in each way, and the way to the API server
// for five, with pauses.
func (o *lone) fail(stop <-chan struct{}) {
	sinks := []func(*sink, http.ResponseWriter, event.Event) bool{answerThat(http.StatusServiceUnavailable), unlessEver, slow}
	wait := func(d time.Duration) bool {
		select {
		case <-stop:
			return false
		case <-time.After(d):
			return true
		}
	}
	defer func() {
		o.sink.mend(nil)
		o.proxy.set(false)
	}()
	for i := 0; wait(10 * time.Second); i++ {
		if i%4 == 3 {
			o.proxy.set(true)
			wait(5 * time.Second)
			o.proxy.set(false)
			continue
		}
		o.sink.mend(sinks[i%4])
		wait(10 * time.Second)
		o.sink.mend(nil)
	}
}

// slow accepts after a while that the watcher does not wait for.
func slow(s *sink, w http.ResponseWriter, e event.Event) bool {
	select {
	case <-s.quit:
	case <-time.After(5 * time.Second):
	}
	answer(http.StatusServiceUnavailable)(s, w, e)
	return false
}

func (o *lone) judge(rounds int) {
	o.t.Helper()
	awaitFor(o.t, 2*time.Minute, func() bool { return o.l.missing(o.sink, false) == 0 }, "everything arrives")
	require.Equal(o.t, 0, o.w.stop())
	judged(o.t, "sink and API server fail now and then", fmt.Sprintf("for %d rounds", rounds), o.l.judge(o.sink.got(), false))
}
