package model

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leaderOr is the leader, or any replica where nobody leads.
func (f *faults) leaderOr(d draw) *slot {
	if l := f.rig.leader(); l != nil {
		return l
	}
	return f.any(d)
}

func (f *faults) any(d draw) *slot { return f.rig.slots[d.which%len(f.rig.slots)] }

var processFaults = []fault{
	{"kill the leader", "process", func(f *faults, ctx context.Context, d draw) { f.killed(ctx, f.leaderOr(d), d) }},
	{"stop the leader", "process", func(f *faults, ctx context.Context, d draw) { f.stopped(ctx, f.leaderOr(d), d) }},
	{"pause the leader", "process", func(f *faults, ctx context.Context, d draw) { f.paused(ctx, f.leaderOr(d), d) }},
	{"kill one", "process", func(f *faults, ctx context.Context, d draw) { f.killed(ctx, f.any(d), d) }},
}

var replicaFaults = []fault{
	{"kill the leader", "process", processFaults[0].run},
	{"stop one", "process", func(f *faults, ctx context.Context, d draw) { f.stopped(ctx, f.any(d), d) }},
	{"pause the leader", "process", processFaults[2].run},
	{"cut the leader off", "way", wayFaults[0].run},
	{"kill all", "process", func(f *faults, ctx context.Context, d draw) {
		if !f.rig.hasLease(ctx) {
			f.said("not done: without the Lease nobody would know that anybody had led")
			return
		}
		for _, s := range f.rig.slots {
			s.kill()
		}
		wait(ctx, d.between(0, 3*time.Second))
		for _, s := range f.rig.slots {
			f.rig.fail(s.start())
		}
	}},
	{"delete the Lease", "process", func(f *faults, ctx context.Context, _ draw) {
		err := f.rig.plane.client.Resource(leases).Namespace(f.rig.leaseNamespace()).Delete(ctx, "watchers", metav1.DeleteOptions{})
		f.said("deleted: %v", err)
		for begin := time.Now(); !f.rig.hasLease(ctx) && time.Since(begin) < 15*time.Second && wait(ctx, 200*time.Millisecond); {
		}
	}},
}

func (f *faults) killed(ctx context.Context, s *slot, d draw) {
	f.said("%s is killed", s.name)
	s.kill()
	wait(ctx, d.between(0, 6*time.Second))
	f.rig.fail(s.start())
}

func (f *faults) stopped(ctx context.Context, s *slot, d draw) {
	f.said("%s is stopped", s.name)
	f.rig.fail(s.stop())
	wait(ctx, d.between(0, 4*time.Second))
	f.rig.fail(s.start())
}

func (f *faults) paused(ctx context.Context, s *slot, d draw) {
	f.said("%s is paused", s.name)
	s.freeze(true)
	wait(ctx, d.between(time.Second, 10*time.Second))
	s.freeze(false)
}

var wayFaults = []fault{
	{"cut the leader off", "way", func(f *faults, ctx context.Context, d draw) { f.cut(ctx, d, f.leaderOr(d)) }},
	{"cut one off", "way", func(f *faults, ctx context.Context, d draw) { f.cut(ctx, d, f.any(d)) }},
	{"cut all off", "way", func(f *faults, ctx context.Context, d draw) { f.cut(ctx, d, f.rig.slots...) }},
	{"reset connections", "way", func(f *faults, ctx context.Context, d draw) {
		for i := 0; i < 1+d.how%4 && wait(ctx, d.between(0, time.Second)); i++ {
			for _, s := range f.rig.slots {
				s.proxy.blink()
			}
		}
	}},
}

// cut takes the way to the API server from some.
func (f *faults) cut(ctx context.Context, d draw, slots ...*slot) {
	for _, s := range slots {
		f.said("%s is cut off", s.name)
		s.proxy.set(true)
	}
	wait(ctx, d.between(time.Second, 9*time.Second))
	for _, s := range slots {
		s.proxy.set(false)
	}
}

var planeFaults = []fault{
	{"restart the API server", "plane", func(f *faults, ctx context.Context, d draw) { f.restart(ctx, d) }},
	{"compact etcd", "plane", func(f *faults, ctx context.Context, _ draw) { f.said("compacted: %v", f.rig.plane.compact(ctx)) }},
	{"compact etcd and restart the API server", "plane", func(f *faults, ctx context.Context, d draw) {
		f.said("compacted: %v", f.rig.plane.compact(ctx))
		f.restart(ctx, d)
	}},
}

func (f *faults) restart(ctx context.Context, d draw) {
	f.rig.fail(f.rig.plane.kill())
	wait(ctx, d.between(0, 3*time.Second))
	f.rig.fail(f.rig.plane.start())
	f.said("the API server is ready again")
}

var sinkFaults = []fault{
	{"an endpoint answers badly", "sink", (*faults).badly},
	{"the last endpoint answers badly", "sink", func(f *faults, ctx context.Context, d draw) {
		d.which = 1 + d.which%2
		f.badly(ctx, d)
	}},
	{"the dead letter answers badly", "letters", func(f *faults, ctx context.Context, d draw) {
		f.rig.sinks.be(letters, unavailable)
		wait(ctx, d.between(time.Second, 3*time.Second))
		f.rig.sinks.be(letters, well)
	}},
	{"an object is refused", "object", func(f *faults, ctx context.Context, d draw) { f.object(ctx, d, refusing, 4*time.Second) }},
	{"an object is stuck", "stuck", func(f *faults, ctx context.Context, d draw) { f.object(ctx, d, unavailable, 30*time.Second) }},
}

// badly has one endpoint answer badly for a time.
func (f *faults) badly(ctx context.Context, d draw) {
	path := []string{passOne, endOne, endTwo, passTwo}[d.which%4]
	m := []mood{unavailable, hanging, resetting, limiting, slow}[d.how%5]
	f.said("%s %s", path, moodNames[m])
	f.rig.sinks.be(path, m)
	wait(ctx, d.between(time.Second, 5*time.Second))
	f.rig.sinks.be(path, well)
}

// object has the last endpoints answer badly for one object.
func (f *faults) object(ctx context.Context, d draw, m mood, most time.Duration) {
	of := f.rig.operations.all[d.which%len(f.rig.operations.all)].key()
	f.said("%s %s", of, moodNames[m])
	f.rig.sinks.beFor(of, m)
	wait(ctx, d.between(most/3, most))
	f.rig.sinks.beFor(of, well)
}

var reloadFaults = []fault{{"change the configuration file", "file", func(f *faults, ctx context.Context, d draw) {
	f.rig.file.set(d)
	f.said("the file is %s", f.rig.file.scopeText())
	for begin := time.Now(); time.Since(begin) < 15*time.Second && wait(ctx, 200*time.Millisecond); {
		if f.rig.taken() {
			return
		}
	}
}}}
