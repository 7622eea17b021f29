package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// helperEnv makes this test binary the function echo.
const helperEnv = "SERVE_TEST_HELPER"

type config struct {
	Wait time.Duration `split_words:"true" desc:"how long to think"`
}

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) == "" {
		os.Exit(m.Run())
	}
	os.Exit(Main("echo", config{Wait: time.Second}, func(c config) (event.Handler, error) {
		if c.Wait < 0 {
			return nil, errors.New("ECHO_WAIT: want a positive duration")
		}
		return func(_ context.Context, e event.Event) (*event.Event, error) { return &e, nil }, nil
	}))
}

func helper(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	// The race detector would make each process wait a second at its end.
	cmd.Env = append(append(os.Environ(), helperEnv+"=1", "PORT=0", "GORACE=atexit_sleep_ms=0"), env...)
	return cmd
}

func TestWrongStartIsOneClearLineAndExitCode1(t *testing.T) {
	busy, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", ":0")
	require.NoError(t, err)
	defer func() { require.NoError(t, busy.Close()) }()
	_, port, err := net.SplitHostPort(busy.Addr().String())
	require.NoError(t, err)
	for name, c := range map[string]struct {
		env, args []string
		want      string
	}{
		"unknown flag":      {nil, []string{"--wait=1s"}, "echo: flag provided but not defined: -wait (see --help)\n"},
		"argument":          {nil, []string{"now"}, "echo: unexpected argument \"now\" (see --help)\n"},
		"unknown setting":   {[]string{"ECHO_WAITS=s3cr3t"}, nil, "echo: unknown setting ECHO_WAITS: did you mean ECHO_WAIT?\n"},
		"bad metrics port":  {[]string{"METRICS_PORT=high"}, nil, "echo: METRICS_PORT: bad value: want a port from 0 to 65535\n"},
		"bad signing key":   {[]string{"SIGNING_KEY=s3cr3t"}, nil, "echo: SIGNING_KEY: bad value: want keys of the form whsec_ and 24 to 64 bytes in base64, separated by commas: echo whsec_$(head -c 32 /dev/urandom | base64)\n"},
		"no token file":     {[]string{"TOKEN_FILE=/none/s3cr3t"}, nil, "echo: TOKEN_FILE: cannot be read: no such file or directory\n"},
		"bad setting":       {[]string{"ECHO_WAIT=s3cr3t"}, nil, "echo: ECHO_WAIT: bad value: want a duration such as 500ms, 15s or 10m\n"},
		"refused by build":  {[]string{"ECHO_WAIT=-1s"}, nil, "echo: ECHO_WAIT: want a positive duration\n"},
		"port is a word":    {[]string{"PORT=http"}, nil, "echo: PORT: bad value: want a port from 0 to 65535\n"},
		"port is empty":     {[]string{"PORT="}, nil, "echo: PORT: bad value: want a port from 0 to 65535\n"},
		"port is too large": {[]string{"PORT=65536"}, nil, "echo: PORT: bad value: want a port from 0 to 65535\n"},
		"port is negative":  {[]string{"PORT=-1"}, nil, "echo: PORT: bad value: want a port from 0 to 65535\n"},
		"port is taken":     {[]string{"PORT=" + port}, nil, "echo: PORT: listen tcp :" + port + ": bind: address already in use\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			cmd := helper(t, c.env, c.args...)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			var exit *exec.ExitError
			require.ErrorAs(t, cmd.Run(), &exit)
			require.Equal(t, 1, exit.ExitCode())
			require.Equal(t, c.want, stderr.String())
			require.Empty(t, stdout.String())
		})
	}
}

func TestHelpAndVersionGoToStdout(t *testing.T) {
	for arg, want := range map[string]string{
		"--version": "echo dev\n",
		"--help": "echo is a function of a kwatchman chain: it answers CloudEvents over HTTP.\n\n" +
			"Settings, as environment variables (default in brackets):\n" +
			"  ECHO_WAIT                    how long to think (1s)\n" +
			"  PORT                         where to listen; 0 takes a free port (8080)\n" +
			"  METRICS_PORT                 where to serve /metrics, /healthz and /readyz without TLS; 0 takes a free port (nowhere)\n" +
			"  SIGNING_KEY                  keys that requests have to be signed with (KW_SIGNING_KEY), separated by commas; secrets (no check)\n" +
			"  TOKEN_FILE                   file with the tokens of which a request has to have one (KW_TOKEN_FILE), one a line; it may be renewed (no check)\n" +
			"  TLS_CERT_FILE, TLS_KEY_FILE  certificate and key, as PEM files that may be renewed: serve TLS (no TLS)\n" +
			"  TLS_CLIENT_CA_FILE           CA, as a PEM file: take only clients with a certificate of it (any client)\n" +
			"  OTEL_EXPORTER_OTLP_ENDPOINT  collector that traces go to, by OTLP over HTTP, with OpenTelemetry's further variables (no tracing)\n\n" +
			"Flags: --help, --version\n",
	} {
		for _, flag := range []string{arg, strings.TrimPrefix(arg, "-")} {
			// A setting that would stop the start does not stop the help.
			out, err := helper(t, []string{"ECHO_WAITS=1"}, flag).Output()
			require.NoError(t, err)
			require.Equal(t, want, string(out))
		}
	}
}

func TestSignalEndsTheProcessWithExitCode0(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd := helper(t, nil)
		stderr, err := cmd.StderrPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		logs := bufio.NewReader(stderr)
		line, err := logs.ReadBytes('\n')
		require.NoError(t, err)
		var listening struct{ Msg, Address, Function string }
		require.NoError(t, json.Unmarshal(line, &listening), "%s", line)
		require.Equal(t, "listening", listening.Msg)
		require.Equal(t, "echo", listening.Function)
		_, port, err := net.SplitHostPort(listening.Address)
		require.NoError(t, err)
		status, body := get(t, "http://127.0.0.1:"+port+"/readyz")
		require.Equal(t, 200, status)
		require.Equal(t, "ok\n", body)
		require.NoError(t, cmd.Process.Signal(signal))
		rest, err := io.ReadAll(logs)
		require.NoError(t, err)
		require.NoError(t, cmd.Wait(), "%s", rest)
		require.Contains(t, string(rest), `"msg":"stopped"`)
	}
}
