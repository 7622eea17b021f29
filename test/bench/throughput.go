package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// rate is how fast a subject takes the recorded events.
type rate struct {
	events   float64       // a second
	perEvent time.Duration // CPU of the subject
	own      time.Duration // CPU of the bench, which serves, steps and receives
}

// measureThroughput plays the recorded events as fast as they are read.
func (b *bench) measureThroughput(ctx context.Context) error {
	t := comparison("Throughput of the recorded stream", "", "")
	t.note = fmt.Sprintf("%s recorded events (%s) on %s objects, sent as fast as they are read. The bench, which serves, steps and receives, runs "+
		"on the same cores; its own CPU stands below. The informer compares nothing.", thousands(len(b.recording.events)), mix(), thousands(b.opts.load))
	hanging := "decoded, compared, queued; the sink hangs"
	taken, err := b.each(ctx, hanging, compared, b.take)
	if err != nil {
		return err
	}
	t.addRates(hanging, taken)
	for _, steps := range []int{1, 2, 4} {
		name, subjects := "delivered through one step", compared
		if steps > 1 {
			name = fmt.Sprintf("delivered through %d steps", steps)
			subjects = subjects[:len(subjects)-1] // the informer has no chain
		}
		rates, err := b.each(ctx, name, subjects, func(ctx context.Context, s subject) (rate, error) { return b.deliver(ctx, s, steps) })
		if err != nil {
			return err
		}
		t.addRates(name, rates)
	}
	b.report.tables = append(b.report.tables, t)
	return nil
}

func (b *bench) each(ctx context.Context, name string, subjects []subject, measure func(context.Context, subject) (rate, error)) ([]rate, error) {
	var out []rate
	for _, s := range subjects {
		r, err := measure(ctx, s)
		if err != nil {
			return nil, err
		}
		say("%s: %s: %.0f events a second, %s CPU each", name, s.name, r.events, r.perEvent)
		out = append(out, r)
	}
	return out, nil
}

// addRates adds rows. A subject that is not there gets a dash.
func (t *table) addRates(name string, rates []rate) {
	t.add(compareRates(name, "events a second", len(rates), func(i int) float64 { return rates[i].events })...)
	t.add(compareEach(name, "CPU per event", len(rates), func(i int) float64 { return rates[i].perEvent.Seconds() }, millisCell)...)
	t.add(compareEach(name, "CPU of the bench per event", len(rates), func(i int) float64 { return rates[i].own.Seconds() }, millisCell)...)
}

// take measures how fast events are taken off the watch while nothing can be
// delivered: from the first line until the client comes back after a watch that
// ended behind the last.
func (b *bench) take(ctx context.Context, s subject) (rate, error) {
	b.server.reset(b.opts.load)
	r, err := b.start(ctx, s, b.recorded, 1, true, "KW_QUEUE_EVENTS=1000000", "KW_QUEUE_BYTES=8Gi", "KW_TIMEOUT=1h")
	if err != nil {
		return rate{}, err
	}
	defer r.stop()
	defer b.sink.open()
	st, before, err := b.ready(ctx, r)
	if err != nil {
		return rate{}, err
	}
	began, own := time.Now(), ownCPU()
	if err := st.play(ctx, true); err != nil {
		return rate{}, err
	}
	var back time.Time
	for back = b.server.askedSince(began, false); back.IsZero(); back = b.server.askedSince(began, false) {
		if err := errors.Join(r.alive(), sleep(ctx, 5*time.Millisecond)); err != nil {
			return rate{}, err
		}
		if time.Since(began) > startTimeout {
			return rate{}, fmt.Errorf("%s does not come back after its watch ended%s", s.name, r.said())
		}
	}
	own = ownCPU() - own
	after, err := r.quiet(ctx) // what it took is where it waits
	if err != nil {
		return rate{}, err
	}
	if n := r.arrivals.count(); n > 0 {
		return rate{}, fmt.Errorf("%s: %d events arrived at a sink that answers none", s.name, n)
	}
	b.sink.open()
	if err := r.arrivals.await(ctx, b.recording.versions(), r.process); err != nil {
		return rate{}, err
	}
	return b.rate(back.Sub(began), after-before, own), nil
}

// deliver measures how fast events arrive behind so many steps.
func (b *bench) deliver(ctx context.Context, s subject, steps int) (rate, error) {
	b.server.reset(b.opts.load)
	r, err := b.start(ctx, s, b.recorded, steps, false)
	if err != nil {
		return rate{}, err
	}
	defer r.stop()
	st, before, err := b.ready(ctx, r)
	if err != nil {
		return rate{}, err
	}
	began, own := time.Now(), ownCPU()
	if err := st.play(ctx, false); err != nil {
		return rate{}, err
	}
	if err := r.arrivals.await(ctx, b.recording.versions(), r.process); err != nil {
		return rate{}, err
	}
	own = ownCPU() - own
	after, err := r.quiet(ctx)
	return b.rate(r.arrivals.last.Sub(began), after-before, own), err
}

// ready waits until a subject is at rest behind its first list.
func (b *bench) ready(ctx context.Context, r *running) (*stream, time.Duration, error) {
	st, err := b.server.watching(ctx)
	if err != nil {
		return nil, 0, err
	}
	cpu, err := r.quiet(ctx)
	return st, cpu, err
}

func (b *bench) rate(took, cpu, own time.Duration) rate {
	n := len(b.recording.events)
	return rate{float64(n) / took.Seconds(), cpu / time.Duration(n), own / time.Duration(n)}
}
