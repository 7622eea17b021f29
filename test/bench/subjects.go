package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// subject is a way to do the work.
type subject struct {
	name       string
	program    string
	durable    bool // keeps its state in a folder
	builtIn    bool // diff and log in the same process, and lines on stdout instead of a sink
	informer   bool
	relay      bool   // the same program, which only reads and posts
	oldObjects string // how it has the old object
}

// The subjects; ratios are those of the informer to the first.
var (
	inMemory = subject{name: "kwatchman", program: "watcher", oldObjects: "yes"}
	durable  = subject{name: "kwatchman, with state", program: "watcher", durable: true, oldObjects: "yes, over a restart too"}
	allInOne = subject{name: "kwatchman, diff and log built in", program: "kwatchman", builtIn: true, oldObjects: "yes"}
	floor    = subject{name: "read and post only", program: "bench-informer", informer: true, relay: true}
	informer = subject{name: "plain informer", program: "bench-informer", informer: true, oldObjects: "yes"}
)

// compared are those that every table has.
var compared = []subject{inMemory, durable, informer}

// running is a subject that has synced.
type running struct {
	*process
	arrivals *arrivals
	synced   time.Duration // from its start
	dir      string        // of its state
}

// start runs a subject on what kubeconfig names, with a sink behind so many
// steps that let everything through, until the first list is done. The caller
// stops it.
func (b *bench) start(ctx context.Context, s subject, kubeconfig string, steps int, hanging bool, env ...string) (*running, error) {
	r := &running{arrivals: b.sink.reset(hanging)}
	dir, err := os.MkdirTemp(b.dir, "state-*")
	if err != nil {
		return nil, err
	}
	r.dir = dir
	l := launch{path: filepath.Join(b.opts.bin, s.program), until: "ready"}
	switch {
	case s.informer:
		l.env = []string{"KUBECONFIG=" + kubeconfig, "SINK=" + b.sink.url + "/sink"}
		if s.relay {
			l.env = append(l.env, "RELAY=1")
		}
	default:
		handlers := strings.Repeat(b.sink.url+"/step,", steps-1) + b.sink.url + "/sink"
		if s.builtIn {
			handlers, l.line = "diff,log", r.logged
		}
		l.env = []string{
			"KW_KUBECONFIG=" + kubeconfig, "KW_RESOURCES=deployments.apps", "KW_HANDLERS=" + handlers,
			"KW_CLUSTER_NAME=bench", "KW_METRICS_ADDR=",
		}
		if s.durable {
			l.env = append(l.env, "KW_STATE_DIR="+dir)
		}
	}
	l.env = append(l.env, env...)
	if r.process, _, err = l.start(ctx); err != nil {
		return nil, err
	}
	r.synced = time.Since(r.started)
	return r, nil
}

// logged takes a line of the built-in log, which names the event.
func (r *running) logged(line []byte) {
	at := time.Now()
	_, rest, ok := bytes.Cut(line, []byte(`"cloudevents.event_id":"`))
	id, _, end := bytes.Cut(rest, []byte(`"`))
	if !ok || !end {
		return // not a change; what is missing is noticed
	}
	if version, err := versionOf(string(id), nil); err == nil {
		r.arrivals.note(version, at)
	}
}

// stop ends a subject and removes its state.
func (r *running) stop() {
	r.kill()
	_ = os.RemoveAll(r.dir)
}
