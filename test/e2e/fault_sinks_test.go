package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// goodOnes keeps of a ledger the objects that broken sinks accept.
func (l *ledger) goodOnes() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := &ledger{expected: map[string][]expected{}, known: l.known}
	for name, all := range l.expected {
		if good(name) {
			out.expected[name] = append([]expected{}, all...)
		}
	}
	return out
}

func onlyGood(arrivals []arrival) []arrival {
	var out []arrival
	for _, a := range arrivals {
		if good(a.name) {
			out = append(out, a)
		}
	}
	return out
}

func TestFaultSinks(t *testing.T) {
	minute := time.Minute
	if faults(t) {
		minute = 15 * time.Minute
	}
	c := newCluster(t)
	l := newLedger(c)
	l.createAll(t, 40)
	l.baseline()
	cases := []*struct {
		name   string
		broken func(*sink, http.ResponseWriter, event.Event) bool
		exempt bool // nobody is spared, so nobody is unaffected
		sink   *sink
		w      *process
		dir    string
	}{
		{name: "sink answers 503", broken: unless(answer(http.StatusServiceUnavailable))},
		{name: "sink accepts and never answers", broken: unless(hang)},
		{name: "sink resets connections", broken: unless(reset)},
		{name: "sink answers 400", broken: unless(answer(http.StatusBadRequest))},
		{name: "sink answers 429 to nine of ten", broken: busy, exempt: true},
	}
	for _, f := range cases {
		f.sink, f.dir = newSink(t, f.broken), t.TempDir()
		f.w = c.startWatcher("KW_HANDLERS="+f.sink.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+f.dir,
			"KW_TIMEOUT=2s", "KW_RETRY_WAIT_MAX=5s")
	}
	begin := time.Now()
	for n := 0; time.Since(begin) < minute; n++ {
		l.updateAll(t, 40, 40, 0)
		time.Sleep(minute / 12)
	}
	wellDone := l.goodOnes()
	for _, f := range cases {
		if f.exempt {
			continue
		}
		awaitFor(t, time.Minute, func() bool { return wellDone.judge(onlyGood(f.sink.got()), false).missing == 0 },
			f.name+": other subjects are not affected")
		for _, a := range f.sink.got() {
			require.True(t, good(a.name), f.name)
		}
	}
	for _, f := range cases {
		f.sink.mend(nil)
	}
	for _, f := range cases {
		if f.name == "sink answers 400" {
			replayed(t, f.w, f.sink, l, f.dir)
		}
		awaitFor(t, 3*time.Minute, func() bool { return l.missing(f.sink, false) == 0 }, f.name+": everything arrives")
		require.Equal(t, 0, f.w.stop())
		judged(t, f.name, "for "+minute.String(), l.judge(f.sink.got(), false))
	}
}

// letters reads a dead letter.
func letters(t *testing.T, path string) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var out []map[string]any
	for line := range strings.Lines(string(text)) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		out = append(out, m)
	}
	return out
}

// replayed checks that the dead letter has each change of the objects that the
// sink refused, and sends it again beside the running watcher.
func replayed(t *testing.T, w *process, s *sink, l *ledger, dir string) {
	t.Helper()
	refused := map[string]bool{}
	l.mu.Lock()
	for name, all := range l.expected {
		for _, e := range all {
			if !good(name) {
				refused[e.id] = true
			}
		}
	}
	l.mu.Unlock()
	path := filepath.Join(dir, "dead-letter.jsonl")
	awaitFor(t, time.Minute, func() bool { return len(letters(t, path)) >= len(refused) }, "the dead letter is complete")
	in := letters(t, path)
	require.Len(t, in, len(refused))
	for _, m := range in {
		require.True(t, refused[m["id"].(string)], m["id"])
		require.Equal(t, "400", m["knativeerrorcode"])
		require.Equal(t, s.URL, m["knativeerrordest"])
	}
	code, out, stderr := runToEnd(t, "watcher", []string{"replay", path}, w.cmd.Env)
	require.Zero(t, code, stderr)
	require.Contains(t, out, fmt.Sprintf("%d of %d events delivered", len(in), len(in)))
}

func TestFaultBacklog(t *testing.T) {
	changes := 20_000
	if faults(t) {
		changes = 500_000
	}
	const objects = 512
	c := newCluster(t)
	l := newLedger(c)
	l.createAll(t, objects)
	l.baseline()
	type watched struct {
		name   string
		events int
		sink   *sink
		w      *process
		dir    string
	}
	all := []*watched{{name: "default limits", events: 10_000}, {name: "KW_QUEUE_EVENTS=" + fmt.Sprint(2*changes), events: 2 * changes}}
	for _, b := range all {
		b.sink, b.dir = newSink(t, unlessEver), t.TempDir()
		b.w = startWith(t, "plain", nil, c.watcherEnv("KW_HANDLERS="+b.sink.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+b.dir,
			"KW_QUEUE_EVENTS="+fmt.Sprint(b.events), "KW_RETRY_WAIT_MAX=10s")...)
		b.w.await("ready")
	}
	// What is counted are processes without the race detector.
	sample := func(when string) {
		for _, b := range all {
			rss, anon, file := memoryOf(t, b.w, "VmRSS:"), memoryOf(t, b.w, "RssAnon:"), fileSize(t, b.dir)
			t.Logf("%-7s %-22s RSS %5.1f MB (%5.1f without files), state file %5.1f MB, %5d changes made", when, b.name, rss, anon, file, l.count())
			queued := float64(min(b.events, changes))
			require.Less(t, rss, 100+queued*memoryOfAChange/1024, "%s: RSS in MB", b.name)
			require.Less(t, file, 40+queued*diskOfAChange/1024, "%s: state file in MB", b.name)
		}
	}
	sample("start")
	begin := time.Now()
	var made sync.WaitGroup
	made.Go(func() { l.updateAll(t, objects, changes, 0) })
	done := make(chan struct{})
	go func() { made.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(5 * time.Second):
		}
		sample(time.Since(begin).Round(time.Second).String())
	}
	for _, b := range all {
		b.sink.mend(nil)
	}
	for _, b := range all {
		merged := b.events < changes
		awaitFor(t, time.Duration(changes/10_000)*time.Minute, func() bool { return l.missing(b.sink, merged) == 0 }, b.name+": everything arrives")
	}
	sample("drained")
	for _, b := range all {
		require.Equal(t, 0, b.w.stop())
		v := l.judge(b.sink.got(), b.events < changes)
		require.GreaterOrEqual(t, v.arrived, min(changes, b.events), "every queued change")
		judged(t, "sink stopped, "+b.name, fmt.Sprintf("%d changes", changes), v)
	}
}

// unlessEver is a sink that is not there: no connection gets an answer.
func unlessEver(s *sink, w http.ResponseWriter, e event.Event) bool {
	reset(s, w, e)
	return false
}

// The bounds of the backlog's test, in KB: what a change that waits takes in
// memory and in the file.
const (
	memoryOfAChange = 0.5
	diskOfAChange   = 2.5
)

func memoryOf(t *testing.T, p *process, what string) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(t, err)
	_, after, ok := strings.Cut(string(text), what)
	require.True(t, ok)
	var kb float64
	_, err = fmt.Sscan(after, &kb)
	require.NoError(t, err)
	return kb / 1024
}

func fileSize(t *testing.T, dir string) float64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, "state.db"))
	require.NoError(t, err)
	return float64(info.Size()) / (1 << 20)
}
