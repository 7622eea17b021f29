package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// functions are the programs that start cold when Knative needs them.
var functions = []string{"diff", "log", "slack", "ignoreevents"}

// coldResult is how a function starts.
type coldResult struct {
	first quantiles // exec to the first answered event
	rss   int64     // at rest after it
}

// measureColdStarts starts each function, and the watcher.
func (b *bench) measureColdStarts(ctx context.Context) error {
	t := table{
		title: "Cold start",
		note: fmt.Sprintf("From exec to the answer to a first event of %d bytes; of the watcher to `/readyz` answering 200, on the real API server with "+
			"%s objects. %d starts each, of the watcher %d.", len(b.pair(0).Object)+len(b.pair(0).OldObject), thousands(b.opts.load), b.opts.starts, b.watcherStarts()),
		head: []string{"", "median", "max", "RSS at rest", "binary"},
	}
	for _, name := range functions {
		r, err := b.coldStarts(ctx, b.opts.starts, func() (time.Duration, int64, error) { return b.coldStart(ctx, name) })
		if err != nil {
			return err
		}
		if err := b.addCold(&t, name, r); err != nil {
			return err
		}
	}
	r, err := b.coldStarts(ctx, b.watcherStarts(), func() (time.Duration, int64, error) { return b.coldWatcher(ctx) })
	if err == nil {
		err = b.addCold(&t, "watcher", r)
	}
	b.report.tables = append(b.report.tables, t)
	return err
}

// watcherStarts are fewer: each lists all objects.
func (b *bench) watcherStarts() int { return min(b.opts.starts, 5) }

func (b *bench) addCold(t *table, name string, r coldResult) error {
	info, err := os.Stat(filepath.Join(b.opts.bin, name))
	if err != nil {
		return err
	}
	say("cold start of %s: %s", name, r.first.p50)
	t.add(name, millis(r.first.p50), millis(r.first.max), megabytes(r.rss), megabytes(info.Size()))
	return nil
}

func (b *bench) coldStarts(ctx context.Context, n int, start func() (time.Duration, int64, error)) (coldResult, error) {
	var out coldResult
	var took []time.Duration
	for range n {
		d, rss, err := start()
		if err != nil {
			return out, err
		}
		took, out.rss = append(took, d), rss
		if err := sleep(ctx, 20*time.Millisecond); err != nil { // the machine is at rest again
			return out, err
		}
	}
	out.first = quantilesOf(took)
	return out, nil
}

// startFunction runs a function on a free port and gives its URL.
func (b *bench) startFunction(ctx context.Context, name string) (*process, string, error) {
	l := launch{
		path: filepath.Join(b.opts.bin, name), env: []string{"PORT=0", "SLACK_WEBHOOK_URL=" + b.sink.url + "/slack"}, until: "listening",
	}
	p, line, err := l.start(ctx)
	if err != nil {
		return nil, "", err
	}
	address, _ := line["address"].(string)
	return p, "http://127.0.0.1:" + address[strings.LastIndex(address, ":")+1:], nil
}

func (b *bench) coldStart(ctx context.Context, name string) (time.Duration, int64, error) {
	e := b.pair(0)
	p, url, err := b.startFunction(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	defer p.kill()
	if err := post(ctx, http.DefaultClient, url, &e); err != nil {
		return 0, 0, fmt.Errorf("%s: %w%s", name, err, p.said())
	}
	took := time.Since(p.started)
	m, err := p.settled(ctx, 300*time.Millisecond)
	return took, m.rss, err
}

// post sends an event to a function, which has to let it go on or stop it.
func post(ctx context.Context, client *http.Client, url string, e *event.Event) error {
	req, err := event.NewRequest(ctx, url, e)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("answered %s: %s", resp.Status, body)
	}
	return err
}

// coldWatcher waits for /readyz.
func (b *bench) coldWatcher(ctx context.Context) (time.Duration, int64, error) {
	l := launch{path: filepath.Join(b.opts.bin, "watcher"), until: "serving health", env: []string{
		"KW_KUBECONFIG=" + b.opts.kubeconfig, "KW_RESOURCES=deployments.apps", "KW_HANDLERS=" + b.sink.url + "/sink",
		"KW_CLUSTER_NAME=bench", "KW_METRICS_ADDR=127.0.0.1:0",
	}}
	p, line, err := l.start(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer p.kill()
	for ready := false; !ready; {
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return 0, 0, err
		}
		if ready, err = isReady(ctx, fmt.Sprintf("http://%s/readyz", line["address"])); err != nil {
			return 0, 0, fmt.Errorf("watcher: %w%s", err, p.said())
		}
		if time.Since(p.started) > startTimeout {
			return 0, 0, fmt.Errorf("watcher is not ready after %s%s", startTimeout, p.said())
		}
	}
	took := time.Since(p.started)
	m, err := p.settled(ctx, time.Second)
	return took, m.rss, err
}

func isReady(ctx context.Context, url string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	return resp.StatusCode == http.StatusOK, resp.Body.Close()
}

// pair is the i-th recorded change as the event that the watcher would send.
func (b *bench) pair(i int) event.Event {
	pairs := b.recording.pairs
	return pairs[i%len(pairs)]
}

// manifest is an object as the watcher sends it: without managedFields.
func manifest(raw []byte) (json.RawMessage, error) {
	var o map[string]any
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	if m, ok := o["metadata"].(map[string]any); ok {
		delete(m, "managedFields")
	}
	return json.Marshal(o)
}
