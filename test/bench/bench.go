package main

import (
	"context"
	"errors"
	"path/filepath"
)

// bench is one run of the program.
type bench struct {
	opts      options
	dir       string // temporary
	cluster   *cluster
	changer   *changer
	recording *recording
	server    *recordedServer
	recorded  string // the kubeconfig of server
	sink      *sink
	report    *report
}

// run measures part by part. What was measured before a failure is printed: each
// part has checked that no change was lost.
func (b *bench) run(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	defer b.sink.close()
	defer func() {
		if b.server != nil {
			b.server.close()
		}
	}()
	err := b.measure(ctx)
	if ctx.Err() != nil {
		return err
	}
	if facts, factsErr := b.facts(ctx); factsErr == nil {
		b.report.facts = facts
	} else {
		err = errors.Join(err, factsErr)
	}
	return errors.Join(err, b.report.write(b.opts.out))
}

// prepare fills the cluster and starts the sink.
func (b *bench) prepare(ctx context.Context) error {
	var err error
	if b.cluster, err = connect(b.opts.kubeconfig); err != nil {
		return err
	}
	if err := b.cluster.load(ctx, b.opts.load); err != nil {
		return err
	}
	b.changer = newChanger(b.opts.load)
	b.sink, err = startSink()
	return err
}

func (b *bench) measure(ctx context.Context) error {
	for _, p := range []struct {
		name     string
		recorded bool
		run      func(context.Context) error
	}{
		{partLatency, false, b.measureLatency},
		{partCold, true, b.measureColdStarts},
		{partMemory, true, b.measureMemory},
		{partThroughput, true, b.measureThroughput},
		{partDiff, true, b.measureDiff},
	} {
		if !b.opts.runs(p.name) {
			continue
		}
		if p.recorded && b.recording == nil {
			if err := b.record(ctx); err != nil {
				return err
			}
		}
		say("part: %s", p.name)
		if err := p.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// record makes the recording and serves it.
func (b *bench) record(ctx context.Context) error {
	var err error
	if b.recording, err = b.cluster.record(ctx, b.changer.plan(b.opts.changes)); err != nil {
		return err
	}
	if b.server, err = startServer(b.recording, b.cluster.rest); err != nil {
		return err
	}
	b.recorded = filepath.Join(b.dir, "recorded.kubeconfig")
	return b.server.kubeconfig(b.recorded)
}
