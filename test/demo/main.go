// Command demo shows changes on their way from a cluster through watcher, diff
// and log, each a process of its own. With --change it makes a few telling
// changes itself and ends; without, it watches the cluster of the kubeconfig,
// changes nothing in it and ends with Ctrl-C.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	bin := fs.String("bin", "bin", "folder of the programs")
	change := fs.Bool("change", false, "make changes in the cluster and end")
	pause := fs.Duration("pause", 1500*time.Millisecond, "time between two changes")
	if err := fs.Parse(args); err != nil {
		return err
	}
	logs, err := os.CreateTemp("", "kwatchman-demo-*.log")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(logs.Name()) }()
	chain := &programs{bin: *bin, logs: logs}
	defer chain.stop()
	if err := chain.start(ctx, *change); err != nil {
		return err
	}
	if !*change {
		fmt.Printf("Watching %s in the cluster of your kubeconfig; nothing is changed in it.\n"+
			"KW_RESOURCES chooses others. Ctrl-C ends this.\n",
			cmp.Or(os.Getenv("KW_RESOURCES"), "deployments, services, statefulsets, daemonsets and ingresses"))
		<-ctx.Done()
		return nil
	}
	err = makeChanges(ctx, *pause)
	if errors.Is(err, context.Canceled) {
		return nil // Ctrl-C
	}
	return err
}

// programs are the processes, in the order in which they are started. They are
// stopped the other way round, so that the watcher can finish first.
type programs struct {
	bin     string
	logs    *os.File
	running []*exec.Cmd
}

func (p *programs) start(ctx context.Context, own bool) error {
	var urls []string
	for _, function := range []struct {
		name string
		env  []string
	}{{"diff", nil}, {"log", []string{"LOG_FORMAT=text"}}} {
		line, err := p.launch(ctx, function.name, "listening", append(function.env, "PORT=0")...)
		if err != nil {
			return err
		}
		address, _ := line["address"].(string)
		urls = append(urls, "http://127.0.0.1:"+address[strings.LastIndex(address, ":")+1:])
	}
	env := []string{"KW_HANDLERS=" + strings.Join(urls, ","), "KW_METRICS_ADDR="}
	if own {
		env = append(env, "KW_RESOURCES=deployments,configmaps,secrets", "KW_CLUSTER_NAME=demo", "KW_NAMESPACE="+namespace)
	}
	_, err := p.launch(ctx, "watcher", "ready", env...)
	return err
}

// launch runs a program and waits until its log says until.
func (p *programs) launch(ctx context.Context, name, until string, env ...string) (map[string]any, error) {
	cmd := exec.Command(filepath.Join(p.bin, name)) //nolint:gosec // our own programs
	cmd.Env = append(environment(name), env...)
	cmd.Stdout = os.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to pass on
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s (make build?): %w", name, err)
	}
	p.running = append(p.running, cmd)
	lines := bufio.NewReader(stderr)
	for ctx.Err() == nil {
		text, err := lines.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("%s did not start", name)
		}
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) != nil {
			fmt.Fprint(os.Stderr, text) // the one line that says why it cannot start
		}
		if line["msg"] == until {
			go func() { _, _ = io.Copy(p.logs, lines) }() // ends with the program
			return line, nil
		}
	}
	return nil, ctx.Err()
}

// environment is the caller's without what would configure a function; the
// settings of the watcher are the caller's to choose.
func environment(program string) []string {
	var out []string
	for _, kv := range os.Environ() {
		prefix, _, _ := strings.Cut(kv, "_")
		if program == "watcher" || prefix != "LOG" && prefix != "DIFF" {
			out = append(out, kv)
		}
	}
	return out
}

func (p *programs) stop() {
	for i := len(p.running) - 1; i >= 0; i-- {
		cmd := p.running[i]
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
}
