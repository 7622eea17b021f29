// Command corpus records what the watcher sends for changes of a real API server,
// as before/after pairs for the tests of the diff function. `make corpus` runs it
// with a control plane of its own, which it fills and leaves as it is.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

// What bin/cluster run hands over.
const (
	kubeconfigEnv = "KWATCHMAN_TEST_KUBECONFIG"
	kubectlEnv    = "KWATCHMAN_TEST_KUBECTL"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "corpus: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("corpus", flag.ContinueOnError)
	out := fs.String("out", "functions/diff/testdata/corpus", "folder of the pairs")
	manifests := fs.String("manifests", "test/corpus/manifests", "folder that the commands run in")
	watcher := fs.String("watcher", "bin/watcher", "the watcher")
	only := fs.String("run", "", "record only the scenarios whose name matches")
	if err := fs.Parse(args); err != nil {
		return err
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if os.Getenv(kubeconfigEnv) == "" || os.Getenv(kubectlEnv) == "" {
		return errors.New("needs a control plane and kubectl: make corpus")
	}
	began := time.Now()
	sh, err := newShell(*manifests)
	if err != nil {
		return err
	}
	defer sh.remove()
	if err := sh.run(ctx, "default", prepare); err != nil {
		return err
	}
	events := newRecorder()
	defer events.Close()
	stop, err := startWatcher(ctx, *watcher, events.URL)
	if err != nil {
		return err
	}
	defer stop()
	r := recording{events: events, shell: sh, out: *out}
	var failed error
	for _, s := range scenarios() {
		if ctx.Err() != nil || !wanted.MatchString(s.name) {
			continue
		}
		if err := r.scenario(ctx, s); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	fmt.Printf("recorded %d pairs in %s\n", r.pairs, time.Since(began).Round(time.Second))
	return errors.Join(failed, ctx.Err())
}
