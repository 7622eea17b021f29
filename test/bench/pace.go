package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// pacedFor is how long events are sent one by one, for each number of objects.
const pacedFor = 10 * time.Second

// pace is events to send one by one, and when each was.
type pace struct {
	events []recordedEvent
	past   int // events of the recording that are in the past then
	every  time.Duration
	sent   map[string]time.Time // by version
}

// paceOf takes events of the first objects, of which each subject has the old
// version.
func (b *bench) paceOf(objects int) *pace {
	known := map[string]bool{}
	for _, o := range b.recording.objects[:min(objects, len(b.recording.objects))] {
		known[o.name] = true
	}
	p := &pace{every: time.Second / time.Duration(b.opts.rate), sent: map[string]time.Time{}}
	for i, e := range b.recording.events {
		if known[e.name] && len(p.events) < int(pacedFor/p.every) {
			p.events, p.past = append(p.events, e), i+1
		}
	}
	return p
}

// sendPaced sends them. The caller of play has them once it returns.
func (s *recordedServer) sendPaced(w io.Writer, flush func() error, p *pace) error {
	s.mu.Lock()
	s.played = p.past // before the client can ask again
	s.mu.Unlock()
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for _, e := range p.events {
		p.sent[e.version] = <-tick.C
		if err := write(w, e.line); err != nil {
			return err
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return nil
}

// paced has the subject told of changes at the bench's rate, and looks how long
// each takes from the server to the sink.
func (b *bench) paced(ctx context.Context, r *running, st *stream, objects int) (quantiles, error) {
	p := b.paceOf(objects)
	if err := st.order(ctx, order{paced: p}); err != nil {
		return quantiles{}, err
	}
	var want []string
	for v := range p.sent {
		want = append(want, v)
	}
	if err := r.arrivals.await(ctx, want, r.process); err != nil {
		return quantiles{}, fmt.Errorf("paced: %w", err)
	}
	var d []time.Duration
	for _, v := range want {
		d = append(d, r.arrivals.at[v].Sub(p.sent[v]))
	}
	return quantilesOf(d), nil
}
