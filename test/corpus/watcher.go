package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// everything is what * leaves out because machines write it, and the rest.
const everything = "*,pods,replicasets.apps,controllerrevisions.apps,endpoints,endpointslices,leases,events"

// startWatcher runs the watcher with a chain of one endpoint and returns when it
// watches.
func startWatcher(ctx context.Context, program, endpoint string) (stop func(), err error) {
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), "KW_KUBECONFIG="+os.Getenv(kubeconfigEnv), "KW_HANDLERS="+endpoint,
		"KW_RESOURCES="+everything, "KW_CLUSTER_NAME=corpus", "KW_METRICS_ADDR=")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the watcher: %w", err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"msg":"ready"`) {
			go func() {
				for lines.Scan() { // so that it never waits for a reader
				}
			}()
			return func() {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				_ = cmd.Wait()
			}, nil
		}
		fmt.Fprintln(os.Stderr, lines.Text())
	}
	return nil, fmt.Errorf("the watcher ended before it was ready: %w", cmd.Wait())
}
