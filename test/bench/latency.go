package main

import (
	"context"
	"fmt"
	"time"
)

// latencyResult is how a subject did on the real API server.
type latencyResult struct {
	subject  subject
	synced   time.Duration
	peak     int64 // of the whole run
	after    int64 // after the changes
	sent     int
	perEvent time.Duration // CPU
	idle     float64       // cores
	latency  quantiles
	rate     float64 // changes a second that were made
}

// measureLatency makes changes on the real API server, for each subject in turn.
func (b *bench) measureLatency(ctx context.Context) error {
	if err := sleep(ctx, b.opts.settle); err != nil { // the API server is at rest again
		return err
	}
	var results []latencyResult
	for _, s := range []subject{inMemory, durable, allInOne, informer, floor} {
		r, err := b.latencyOf(ctx, s)
		if err != nil {
			return err
		}
		say("%s: %s CPU an event, p50 %s, p99 %s", s.name, r.perEvent, r.latency.p50, r.latency.p99)
		results = append(results, r)
	}
	b.report.addLatency(results, b.opts)
	return nil
}

func (b *bench) latencyOf(ctx context.Context, s subject) (latencyResult, error) {
	out := latencyResult{subject: s}
	r, err := b.start(ctx, s, b.opts.kubeconfig, 1, false)
	if err != nil {
		return out, err
	}
	defer r.stop()
	out.synced = r.synced
	if err := sleep(ctx, b.opts.settle); err != nil {
		return out, err
	}
	if out.idle, err = r.idle(ctx, b.opts.settle); err != nil {
		return out, err
	}
	if err := b.follow(ctx, r, &out); err != nil {
		return out, err
	}
	m, err := r.settled(ctx, b.opts.settle)
	out.peak, out.after = m.peak, m.rss
	return out, err
}

// follow has the changes made and looks when each arrives.
func (b *bench) follow(ctx context.Context, r *running, out *latencyResult) error {
	before, err := r.cpu()
	if err != nil {
		return err
	}
	changes := b.changer.plan(int(b.opts.lasting.Seconds() * float64(b.opts.rate)))
	began := time.Now()
	made, err := b.cluster.make(ctx, changes, b.opts.rate)
	if err != nil {
		return err
	}
	out.rate = float64(len(changes)) / time.Since(began).Seconds()
	without := ""
	if out.subject.builtIn {
		without = statusOnly // diff stops them
	}
	want := made.versions(without)
	if err := r.arrivals.await(ctx, want, r.process); err != nil {
		return err
	}
	after, err := r.quiet(ctx) // all work for it is done
	if err != nil {
		return err
	}
	out.sent, out.perEvent = len(want), (after-before)/time.Duration(len(changes))
	var d []time.Duration
	for _, v := range want {
		d = append(d, r.arrivals.at[v].Sub(made.began[v]))
	}
	out.latency = quantilesOf(d)
	return nil
}

// idle is the share of a core that a process takes with nothing to do.
func (p *process) idle(ctx context.Context, d time.Duration) (float64, error) {
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	if err := sleep(ctx, d); err != nil {
		return 0, err
	}
	after, err := p.cpu()
	return (after - before).Seconds() / d.Seconds(), err
}

func (r *report) addLatency(results []latencyResult, o options) {
	r.latency = results
	t := table{
		title: "On the real API server",
		note: fmt.Sprintf("%s objects, %.0f changes a second for %s (%s), one sink. Latency is from the start of the API call to the arrival.",
			thousands(o.load), results[0].rate, o.lasting, mix()),
		head: []string{"", "synced after", "peak RSS", "RSS after", "CPU per change", "p50", "p90", "p99", "max", "idle CPU", "arrived"},
	}
	for _, x := range results {
		l := x.latency
		t.add(x.subject.name, seconds(x.synced), megabytes(x.peak), megabytes(x.after), millis(x.perEvent),
			millis(l.p50), millis(l.p90), millis(l.p99), millis(l.max), fmt.Sprintf("%.2f %%", 100*x.idle), fmt.Sprint(x.sent))
	}
	t.foot = "Of the row with diff and log built in each change that is more than status is a line on stdout; diff stops the others. " +
		"The last row keeps no object, compares nothing and forgets what fails: the time that belongs to Go, TLS and HTTP here."
	r.tables = append(r.tables, t)
}
