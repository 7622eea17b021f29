package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// memoryResult is what a subject takes for a number of objects.
type memoryResult struct {
	peak, steady       int64
	relist, afterwards int64
	synced             time.Duration
	cpu                time.Duration // until synced and at rest
	latency            quantiles     // from the server to the sink
}

// measureMemory looks at each subject with each number of objects, on the
// recorded server.
func (b *bench) measureMemory(ctx context.Context) error {
	results := make([][]memoryResult, len(b.opts.sizes)) // by size and compared
	for i, size := range b.opts.sizes {
		for _, s := range compared {
			m, err := b.memoryOf(ctx, s, size)
			if err != nil {
				return err
			}
			say("%d objects, %s: peak %s, steady %s, relist %s", size, s.name, megabytes(m.peak), megabytes(m.steady), megabytes(m.relist))
			results[i] = append(results[i], m)
		}
	}
	b.report.addMemory(b.opts.sizes, results, b.recording.objectSize(), b.opts.settle, b.opts.rate)
	return nil
}

func (b *bench) memoryOf(ctx context.Context, s subject, size int) (memoryResult, error) {
	var out memoryResult
	b.server.reset(size)
	r, err := b.start(ctx, s, b.recorded, 1, false)
	if err != nil {
		return out, err
	}
	defer r.stop()
	out.synced = r.synced
	st, err := b.server.watching(ctx)
	if err != nil {
		return out, err
	}
	if out.cpu, err = r.quiet(ctx); err != nil {
		return out, err
	}
	m, err := r.settled(ctx, b.opts.settle)
	if err != nil {
		return out, err
	}
	out.peak, out.steady = m.peak, m.rss
	m, st, err = b.relist(ctx, r, st)
	if err != nil {
		return out, err
	}
	out.relist, out.afterwards = m.peak, m.rss
	if n := r.arrivals.count(); n > 0 {
		return out, fmt.Errorf("%s told %d changes where none was made", s.name, n)
	}
	out.latency, err = b.paced(ctx, r, st, size)
	return out, err
}

// settled is the memory of a process that has had nothing to do for a while.
func (p *process) settled(ctx context.Context, d time.Duration) (memory, error) {
	if err := sleep(ctx, d); err != nil {
		return memory{}, err
	}
	return p.memory()
}

// relist ends the history, so that the subject lists everything anew and finds
// nothing changed. next is the watch that it opens then.
func (b *bench) relist(ctx context.Context, r *running, st *stream) (m memory, next *stream, err error) {
	if err := r.resetPeak(); err != nil {
		return m, nil, err
	}
	expired := time.Now()
	if err := st.expire(ctx); err != nil {
		return m, nil, err
	}
	if next, err = b.server.watching(ctx); err != nil {
		return m, nil, err
	}
	if b.server.askedSince(expired, true).IsZero() {
		return m, nil, errors.New("nothing was listed after the history ended")
	}
	if _, err := r.quiet(ctx); err != nil {
		return m, nil, err
	}
	m, err = r.settled(ctx, b.opts.settle)
	return m, next, err
}

func (r *report) addMemory(sizes []int, results [][]memoryResult, objectSize int, settle time.Duration, rate int) {
	r.sizes, r.memory = sizes, results
	values := []struct {
		name string
		of   func(memoryResult) int64
	}{
		{"peak RSS at sync", func(m memoryResult) int64 { return m.peak }},
		{"RSS, steady", func(m memoryResult) int64 { return m.steady }},
		{"peak RSS at a relist", func(m memoryResult) int64 { return m.relist }},
		{"RSS after the relist", func(m memoryResult) int64 { return m.afterwards }},
	}
	t := comparison("Memory and latency over the number of objects", "objects", "")
	t.note = fmt.Sprintf("On the recorded server, with objects of %d bytes of JSON on average; beyond those recorded they come again under "+
		"other names. The relist is caused by a 410; steady and after are %s later. Go gives memory back to the system within minutes, "+
		"unless a program asks for it. Latency is from the server to the sink, at %d changes a second.", objectSize, settle, rate)
	growth := comparison("Memory for 1,000 further objects", "from, to", "")
	for i, size := range sizes {
		for _, v := range values {
			t.add(compare(thousands(size), v.name, results[i], func(m memoryResult) float64 { return float64(v.of(m)) }, bytesCell)...)
			if i == 0 || size == sizes[i-1] {
				continue
			}
			growth.add(compareEach(thousands(sizes[i-1])+" to "+thousands(size), v.name, len(compared), func(k int) float64 {
				return float64(v.of(results[i][k])-v.of(results[i-1][k])) * 1000 / float64(size-sizes[i-1])
			}, fineBytesCell)...)
		}
		t.add(compare(thousands(size), "time to sync", results[i], func(m memoryResult) float64 { return m.synced.Seconds() }, secondsCell)...)
		t.add(compare(thousands(size), "CPU to sync", results[i], func(m memoryResult) float64 { return m.cpu.Seconds() }, secondsCell)...)
		t.add(compare(thousands(size), "latency, p50", results[i], func(m memoryResult) float64 { return m.latency.p50.Seconds() }, millisCell)...)
		t.add(compare(thousands(size), "latency, p99", results[i], func(m memoryResult) float64 { return m.latency.p99.Seconds() }, millisCell)...)
	}
	r.tables = append(r.tables, t)
	if len(sizes) > 1 {
		r.tables = append(r.tables, growth)
	}
}
