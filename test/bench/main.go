// Command bench measures what kwatchman costs, beside what a person would write
// instead: memory, CPU, latency and throughput on a real API server and on a
// recorded watch stream that a small local server sends as fast as it is read.
// make bench runs it. It prints Markdown on stdout, its progress on stderr, and
// draws a plot. It gives no number of a run in which a change was lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	opts, err := parse(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kwatchman-bench-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := &bench{opts: opts, dir: dir, report: &report{out: os.Stdout}}
	err = b.run(ctx)
	if ctx.Err() != nil {
		return errors.New("broken off")
	}
	return err
}
