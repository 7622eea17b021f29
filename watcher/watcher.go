// Package watcher is the watcher as a program: configuration, wiring, start
// and stop. The way of a change is a straight line through its folders: source
// (list and watch), state (compare), chain (queue and delivery).
package watcher

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/klog/v2"

	"github.com/kwatchman/kwatchman/internal/settings"
)

// Version is stamped in at build time.
var Version = "dev"

// Main runs the watcher until SIGTERM or SIGINT and returns the exit code: 0
// after a stop, 1 with one line on stderr for any error.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "watcher: %v\n", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, args []string) error {
	cfg := DefaultConfig()
	switch action, err := settings.Flags(args); {
	case err != nil:
		return err
	case action == "help":
		return help(os.Stdout)
	case action == "version":
		fmt.Println("watcher", Version)
		return nil
	}
	if err := load(&cfg); err != nil {
		return err
	}
	if err := cfg.validate(); err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	klog.SetSlogLogger(log) // client-go's own lines in the same form
	if err := watch(ctx, cfg, log); err != nil && ctx.Err() == nil {
		return err
	}
	return nil // a stop that was asked for, also before the start was over
}

func help(w io.Writer) error {
	_, _ = fmt.Fprint(w, strings.TrimLeft(`
watcher watches Kubernetes resources and posts each change as a CloudEvent
along a chain of functions, or to K_SINK where Knative sets it.

Settings, as environment variables (default in brackets):
`, "\n"))
	cfg := DefaultConfig()
	if err := settings.Usage(w, Prefix, &cfg); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, `
Set by Knative:
  K_SINK          where all events go, instead of KW_HANDLERS
  K_CE_OVERRIDES  extensions to add to each event
  K_CA_CERTS      certificates to trust, as PEM

Flags: --help, --version
`)
	return err
}
