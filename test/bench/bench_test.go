package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAQuantileIsAValueThatWasMeasured(t *testing.T) {
	var d []time.Duration
	for i := range 1000 {
		d = append(d, time.Duration(1000-i))
	}
	require.Equal(t, quantiles{500, 900, 990, 1000}, quantilesOf(d))
	require.Equal(t, quantiles{7, 7, 7, 7}, quantilesOf([]time.Duration{7}))
	require.Equal(t, quantiles{}, quantilesOf(nil))
}

func TestCopiesOfAnObjectDifferInNameAndUIDAlone(t *testing.T) {
	rec := sample(7)
	seen := map[string]bool{}
	for i := range 7 * maxCopies {
		raw := rec.object(i)
		require.Len(t, raw, len(rec.objects[i%7].json))
		var m meta
		require.NoError(t, json.Unmarshal(raw, &m))
		require.False(t, seen[m.Metadata.Name] || seen[m.Metadata.UID], "%s", raw)
		seen[m.Metadata.Name], seen[m.Metadata.UID] = true, true
		if i >= 7 {
			require.NotContains(t, string(raw), objectName(i%7))
		}
	}
}

func TestObjectsAndChangesAreTheSameInEveryRun(t *testing.T) {
	for i := range 50 {
		first, err := newGenerator(i).manifest()
		require.NoError(t, err)
		again, err := newGenerator(i).manifest()
		require.NoError(t, err)
		require.Equal(t, string(first), string(again))
	}
	first, again := newChanger(100), newChanger(100)
	require.Equal(t, first.plan(500), again.plan(500))
}

// A change that changes nothing gives no event, and its number would be wrong.
func TestEveryChangeChangesSomething(t *testing.T) {
	share := 0
	for _, k := range kinds {
		share += k.share
	}
	require.Equal(t, 100, share)
	last, counts := map[string]string{}, map[string]int{}
	for _, c := range newChanger(10).plan(5000) {
		path, _, body := c.request()
		require.True(t, json.Valid([]byte(body)), "%s", body)
		require.NotEqual(t, last[path], body, "of one object and kind")
		last[path] = body
		counts[c.kind.name]++
	}
	for _, k := range kinds {
		require.InDelta(t, k.share*50, counts[k.name], 150, k.name)
	}
}

func TestTheSinkReadsTheNewVersion(t *testing.T) {
	for _, c := range []struct{ id, body, want string }{
		{"8d1f.1234.update", "", "1234"},
		{"", `{"new":{"metadata":{"resourceVersion":"1000"}},"old":{"metadata":{"resourceVersion":"999"}}}`, "1000"},
		{"", `{"old":{"metadata":{"resourceVersion":"1001"}},"new":{"metadata":{"resourceVersion":"1002"}}}`, "1002"},
	} {
		got, err := versionOf(c.id, []byte(c.body))
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
	_, err := versionOf("one.two", nil)
	require.Error(t, err)
	_, err = versionOf("", []byte(`{}`))
	require.Error(t, err)
}

func TestWhatDidNotArriveOrArrivedTwiceIsNoticed(t *testing.T) {
	p := &process{name: "one", ended: make(chan struct{})}
	a := newArrivals()
	a.note("1", time.Now())
	require.Equal(t, 1, a.missing([]string{"1", "2"}))
	a.patience = 20 * time.Millisecond
	require.ErrorContains(t, a.await(t.Context(), []string{"1", "2"}, p), "1 of 2 changes did not arrive")
	a.note("2", time.Now())
	require.NoError(t, a.await(t.Context(), []string{"1", "2"}, p))
	require.ErrorContains(t, a.await(t.Context(), []string{"1"}, p), "1 changes arrived that were not made")
	a.note("2", time.Now())
	require.ErrorContains(t, a.await(t.Context(), []string{"1", "2"}, p), "1 more than once")
}

func TestTheCPUClockOfAProcessIsWhatTheSystemAccounts(t *testing.T) {
	p := &process{name: "this", pid: os.Getpid()}
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
	}
	accounted := ownCPU()
	clock, err := p.cpu()
	require.NoError(t, err)
	require.InDelta(t, accounted.Seconds(), clock.Seconds(), 0.05)
	m, err := p.memory()
	require.NoError(t, err)
	require.GreaterOrEqual(t, m.peak, m.rss)
	require.Positive(t, m.rss)
}

// measured is a report of everything.
func measured() *report {
	r := &report{sizes: []int{1000, 10000, 50000}, facts: []string{"a machine"}}
	for i := range r.sizes {
		var row []memoryResult
		for k := range compared {
			n := int64(30+10*k) * mega * int64(1+i*i*k*4)
			row = append(row, memoryResult{peak: 2 * n, steady: n, relist: n * 3 / 2, afterwards: n, synced: time.Second, cpu: time.Second, latency: quantiles{time.Millisecond, time.Second, time.Second, time.Second}})
		}
		r.memory = append(r.memory, row)
	}
	for i, s := range []subject{inMemory, durable, allInOne, informer} {
		d := time.Duration(4+i) * time.Millisecond
		r.latency = append(r.latency, latencyResult{subject: s, rate: 100, latency: quantiles{d, 2 * d, 5 * d, 40 * d}, perEvent: d})
	}
	return r
}

func TestThePlotIsAWellFormedPictureOfWhatThereIs(t *testing.T) {
	all, latency, memory, single := measured(), measured(), measured(), measured()
	latency.memory, latency.sizes = nil, nil
	memory.latency = nil
	single.sizes, single.memory = single.sizes[:1], single.memory[:1]
	for _, r := range []*report{all, latency, memory, single} {
		svg := r.plot()
		d := xml.NewDecoder(bytes.NewReader(svg))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, "%s", svg)
		}
		require.NotContains(t, string(svg), "NaN")
		require.NotContains(t, string(svg), "Inf")
		require.NotContains(t, string(svg), "%!")
	}
}

func TestTablesHaveARatioWhereThereIsSomethingToCompare(t *testing.T) {
	var out bytes.Buffer
	r := measured()
	r.out = &out
	r.addMemory(r.sizes, r.memory, 8000, time.Second, 100)
	r.addLatency(r.latency, options{load: 10000, lasting: time.Second})
	require.NoError(t, r.write(t.TempDir()))
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "| 10,000 ") && strings.Contains(line, "steady") && !strings.Contains(line, " to ") {
			require.Contains(t, line, "| 30.0 MB")
			require.Contains(t, line, "| 15.0 ")
		}
	}
	require.Equal(t, []string{"a", "b", "1.00 ms", "–", "–", "–"}, compareEach("a", "b", 1, func(int) float64 { return 0.001 }, millisCell))
	require.Equal(t, "1,234,567", thousands(1234567))
	require.Equal(t, "-1,000", thousands(-1000))
}

func TestTheCommandLineRefusesWhatCannotBeMeasured(t *testing.T) {
	t.Setenv(kubeconfigEnv, "somewhere")
	out := "--out=" + t.TempDir()
	o, err := parse([]string{out, "--short", "--load", "500", "--objects", "3000,100"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, []int{100, 3000}, o.sizes)
	require.Equal(t, 500, o.load)
	require.Equal(t, 1000, o.changes)
	for want, args := range map[string][]string{
		"--only:": {"--only", "speed"}, "--objects: \"0\"": {"--objects", "0"}, "--objects: \"x\"": {"--objects", "x"},
		"100 times --load": {"--load", "100", "--objects", "10001"}, "\"more\"": {"more"}, "--load: 0": {"--load", "0", "--short"},
		"--rate: -1": {"--rate", "-1"}, "--settle: -1s": {"--settle", "-1s"}, "--out: /no/such is no folder": {"--out", "/no/such"},
	} {
		_, err := parse(append([]string{out}, args...), io.Discard)
		require.ErrorContains(t, err, want)
	}
	t.Setenv(kubeconfigEnv, "")
	_, err = parse([]string{out}, io.Discard)
	require.ErrorContains(t, err, "make bench")
}
