// Command panels draws what the dashboard shows of a real run, as SVG: watcher,
// diff and log as processes, an endpoint that fails for a while, and a real API
// server with some twenty changes a second. `make panels` runs it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	objects  = 200
	pause    = 40 * time.Millisecond // between two writes
	patience = time.Minute
)

// The run, in seconds: the endpoint fails in between.
const (
	whole  = 90
	broken = 30
	mended = 50
)

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

func main() {
	out := flag.String("o", "docs/operate.svg", "`file` to write")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "panels:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	kubeconfig := os.Getenv("KWATCHMAN_TEST_KUBECONFIG")
	if kubeconfig == "" {
		return errors.New("needs an API server: make panels")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	cfg.QPS = -1
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	var fails atomic.Bool
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	sink := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if fails.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})}
	go func() { _ = sink.Serve(l) }()
	defer func() { _ = sink.Close() }()

	diff, err := start(ctx, "diff", "listening", "PORT=0", "METRICS_PORT=0")
	if err != nil {
		return err
	}
	log, err := start(ctx, "log", "listening", "PORT=0", "METRICS_PORT=0", "LOG_FORMAT=compact")
	if err != nil {
		return err
	}
	w := &writer{client: client.Resource(deployments).Namespace("default")}
	for i := range objects {
		if err := w.create(ctx, i); err != nil {
			return err
		}
	}
	watcher, err := start(ctx, "watcher", "ready", "KW_KUBECONFIG="+kubeconfig, "KW_RESOURCES=deployments", "KW_CLUSTER_NAME=test", "KW_METRICS_ADDR=127.0.0.1:0",
		"KW_HANDLERS=http://"+diff.at["listening"]+",http://"+log.at["listening"]+",http://"+l.Addr().String(), "KW_RETRY_WAIT_MAX=2s")
	if err != nil {
		return err
	}
	go w.write(ctx)
	var all []sample
	for second := range whole {
		fails.Store(second >= broken && second < mended)
		s := sample{}
		for name, p := range map[string]*process{"watcher": watcher, "diff": diff, "log": log} {
			address := p.at["serving metrics"]
			if name == "watcher" {
				address = p.at["serving health"]
			}
			if err := s.scrape(name, "http://"+address+"/metrics"); err != nil {
				return err
			}
		}
		all = append(all, s)
		time.Sleep(time.Second)
	}
	return os.WriteFile(out, []byte(draw(all)), 0o644) //nolint:gosec // a picture for everyone
}

// process is a program that runs, with the addresses that it says.
type process struct{ at map[string]string }

// start runs a program of bin until it says msg.
func start(ctx context.Context, name, msg string, env ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, "bin/"+name) //nolint:gosec // one of our own three
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{at: map[string]string{}}
	lines, said := bufio.NewScanner(stderr), make(chan error, 1)
	go func() {
		for lines.Scan() {
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) != nil {
				continue
			}
			if line.Address != "" {
				p.at[line.Msg] = strings.Replace(line.Address, "[::]", "127.0.0.1", 1)
			}
			if line.Msg == msg {
				said <- nil
				break
			}
		}
		_, _ = io.Copy(io.Discard, stderr)
		_ = cmd.Wait()
		said <- fmt.Errorf("%s ended", name)
	}()
	select {
	case err := <-said:
		return p, err
	case <-time.After(patience):
		return nil, fmt.Errorf("%s does not say %q", name, msg)
	}
}

// writer changes Deployments as people and controllers do.
type writer struct{ client dynamic.ResourceInterface }

func (w *writer) create(ctx context.Context, i int) error {
	labels := map[string]any{"app": "a"}
	_, err := w.client.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": fmt.Sprint("web-", i)},
		"spec": map[string]any{"selector": map[string]any{"matchLabels": labels}, "template": map[string]any{
			"metadata": map[string]any{"labels": labels},
			"spec":     map[string]any{"containers": []any{map[string]any{"name": "app", "image": "web:0"}}},
		}},
	}}, metav1.CreateOptions{})
	return err
}

// write goes on until ctx ends: a person's change, and two of a controller.
func (w *writer) write(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		name, patch, sub := fmt.Sprint("web-", i%objects), fmt.Sprintf(`{"status":{"observedGeneration":%d}}`, i+1), []string{"status"}
		if i%3 == 0 {
			patch, sub = fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"web:%d"}]}}}}`, i+1), nil
		}
		_, _ = w.client.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, sub...)
		time.Sleep(pause)
	}
}

// sample is what the metrics of all processes are at one time: name{labels} by program.
type sample map[string]float64

func (s sample) scrape(program, url string) error {
	resp, err := http.Get(url) //nolint:gosec // our own, on loopback
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return err
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			key := program + " " + name
			for _, l := range m.GetLabel() {
				key += " " + l.GetName() + "=" + l.GetValue()
			}
			s[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
			for _, b := range m.GetHistogram().GetBucket() {
				s[fmt.Sprintf("%s le=%g", key, b.GetUpperBound())] = float64(b.GetCumulativeCount())
			}
		}
	}
	return nil
}
