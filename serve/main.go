// Package serve runs one function as an HTTP server: settings from the
// environment, the port, health, a graceful stop.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/connections"
	"github.com/kwatchman/kwatchman/internal/settings"
	"github.com/kwatchman/kwatchman/internal/signature"
	"github.com/kwatchman/kwatchman/internal/tracing"
)

// Version is stamped in at build time.
var Version = "dev"

const defaultPort = 8080

// Main runs the function name until SIGTERM or SIGINT and returns the exit
// code: 0 after a stop, 1 with one line on stderr for any error. cfg holds the
// defaults; the variables that start with the function's name in upper case
// overlay it.
func Main[C any](name string, cfg C, build func(C) (event.Handler, error)) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	// A closed stdout is an error of that event, not the end. The signal is caught,
	// not ignored: what a function runs would inherit the latter.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if err := run(ctx, name, cfg, build, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

func run[C any](ctx context.Context, name string, cfg C, build func(C) (event.Handler, error), args []string) error {
	prefix := strings.ToUpper(name)
	switch action, err := settings.Flags(args); {
	case err != nil:
		return err
	case action == "help":
		return help(os.Stdout, name, prefix, &cfg)
	case action == "version":
		fmt.Println(name, Version)
		return nil
	}
	slog.SetDefault(slog.New(tracing.Logs(slog.NewJSONHandler(os.Stderr, nil))).With("function", name))
	if err := settings.Load(prefix, &cfg); err != nil {
		return err
	}
	port, err := portSetting()
	if err != nil {
		return err
	}
	h, err := build(cfg)
	if err != nil {
		return err
	}
	var keys signature.Keys
	if err := keys.Decode(os.Getenv("SIGNING_KEY")); err != nil {
		return fmt.Errorf("SIGNING_KEY: %w", err)
	}
	tokens, err := tokensOf()
	if err != nil {
		return err
	}
	secured, err := listenerOf()
	if err != nil {
		return err
	}
	tracer, err := tracing.New(tracing.Config{Service: "kwatchman-" + name, Version: Version, Logger: slog.Default()})
	if err != nil {
		return err
	}
	defer tracer.Close()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return fmt.Errorf("PORT: %w", err)
	}
	m := newMetrics(name)
	stop, err := m.serve(ctx) // after that, for it says ready
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer stop()
	return Serve(ctx, secured(connections.Refuse(l, maxOpen, slog.Default())), m.count(admitted(signed(tracer.Handler(name, h), keys), tokens)))
}

func help(w io.Writer, name, prefix string, cfg any) error {
	_, _ = fmt.Fprintf(w, "%s is a function of a kwatchman chain: it answers CloudEvents over HTTP.\n\n"+
		"Settings, as environment variables (default in brackets):\n", name)
	port := fmt.Sprintf("PORT\twhere to listen; 0 takes a free port (%d)", defaultPort)
	if err := settings.Usage(w, prefix, cfg, port, "METRICS_PORT\twhere to serve /metrics, /healthz and /readyz without TLS; 0 takes a free port (nowhere)",
		"SIGNING_KEY\tkeys that requests have to be signed with (KW_SIGNING_KEY), separated by commas; secrets (no check)",
		"TOKEN_FILE\tfile with the tokens of which a request has to have one (KW_TOKEN_FILE), one a line; it may be renewed (no check)",
		"TLS_CERT_FILE, TLS_KEY_FILE\tcertificate and key, as PEM files that may be renewed: serve TLS (no TLS)",
		"TLS_CLIENT_CA_FILE\tCA, as a PEM file: take only clients with a certificate of it (any client)",
		tracing.Usage); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\nFlags: --help, --version\n")
	return err
}

func portSetting() (int, error) {
	v, ok := os.LookupEnv("PORT")
	if !ok {
		return defaultPort, nil
	}
	port, err := strconv.ParseUint(v, 10, 16)
	if err != nil {
		return 0, errors.New("PORT: bad value: want a port from 0 to 65535")
	}
	return int(port), nil
}
