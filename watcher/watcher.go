// Package watcher is the watcher as a program, alone or with functions built
// in: commands, wiring, start and stop. The way of a change is a straight line
// through its folders: plan (what to watch), source (list and watch), state
// (compare), chain (queue and delivery).
package watcher

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	terminal "golang.org/x/term"
	"k8s.io/klog/v2"

	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/watcher/config"
)

// Version is stamped in at build time.
var Version = "dev"

// Main runs the program name, with the functions that are built in, until
// SIGTERM or SIGINT and returns the exit code: 0 after a stop, 1 with one line
// on stderr for any error.
func Main(name string, functions map[string]Function) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	cmd := command(name, functions)
	cmd.SetArgs(os.Args[1:])
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, strings.Join(strings.Fields(err.Error()), " "))
		return 1
	}
	return 0
}

// runProgram watches; load reads the configuration again.
func runProgram(ctx context.Context, cfg *config.Config, load func() (*config.Config, error), functions map[string]Function) error {
	tuneHeap()
	log := logger(os.Stderr, cfg.LogLevel)
	klog.SetSlogLogger(log) // client-go's own lines in the same form
	slog.SetDefault(log)
	if cfg.LogLevel.Level() > slog.LevelDebug {
		// The chain reports the failures of built-in functions; their own line for
		// each attempt would repeat it.
		slog.SetDefault(logger(os.Stderr, slog.LevelError))
	}
	tracer, err := newTracer(log)
	if err != nil {
		return err
	}
	defer tracer.Close()
	if err := watch(ctx, cfg, load, functions, tracer, log); err != nil && ctx.Err() == nil {
		return err
	}
	return nil // a stop that was asked for, also before the start was over
}

// newTracer makes what follows changes, if the environment asks for it; the caller
// closes it at the end of the process.
func newTracer(log *slog.Logger) (*tracing.Tracer, error) {
	return tracing.New(tracing.Config{Service: "kwatchman", Version: Version, Logger: log})
}

// tuneHeap keeps the heap small. Most of it are packed objects, which stay and
// are cheap to mark: Go's own setting would let garbage take as much room again
// before it is collected, and half of that costs next to nothing. Who sets GOGC
// knows better.
func tuneHeap() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// logger writes JSON, or text for a person at a terminal.
func logger(w io.Writer, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if isTerminal(w) {
		options.ReplaceAttr = brief
		return slog.New(tracing.Logs(slog.NewTextHandler(w, options)))
	}
	return slog.New(tracing.Logs(slog.NewJSONHandler(w, options)))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && terminal.IsTerminal(int(f.Fd()))
}

// brief leaves out what only a machine reads: the date and empty values.
func brief(_ []string, a slog.Attr) slog.Attr {
	switch {
	case a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
		return slog.String(a.Key, a.Value.Time().Format(time.TimeOnly))
	case a.Value.Kind() == slog.KindString && a.Value.String() == "":
		return slog.Attr{}
	}
	return a
}
