package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// process is a program under test.
type process struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	stdout *output
	stderr *output
	pipe   io.Closer // the reading end of stdout
	ended  chan struct{}
}

// output is what a program printed; lines can be waited for.
type output struct {
	mu    sync.Mutex
	lines []string
}

func (o *output) read(r io.Reader) {
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadString('\n')
		if line != "" {
			o.mu.Lock()
			o.lines = append(o.lines, strings.TrimSuffix(line, "\n"))
			o.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.lines, "\n")
}

// tail is the end of what was printed.
func (o *output) tail(lines int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.lines[max(0, len(o.lines)-lines):], "\n")
}

// find gives the first JSON line with this message.
func (o *output) find(msg string) map[string]any {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.lines {
		var m map[string]any
		if json.Unmarshal([]byte(l), &m) == nil && m["msg"] == msg {
			return m
		}
	}
	return nil
}

// environment is the test's own without anything that would configure a
// program, with env on top.
func environment(env []string) []string {
	var out []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch prefix, _, _ := strings.Cut(name, "_"); prefix {
		case "KW", "K", "KUBECONFIG", "PORT", "SLACK", "LOG", "DIFF", "IGNOREEVENTS", "FILTER", "WEBHOOK", "EXEC", "KUBERNETES", "NO", "OTEL":
		default:
			out = append(out, kv)
		}
	}
	return append(out, env...)
}

// all gives the JSON lines with this message.
func (o *output) all(msg string) []map[string]any {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []map[string]any
	for _, l := range o.lines {
		var m map[string]any
		if json.Unmarshal([]byte(l), &m) == nil && m["msg"] == msg {
			out = append(out, m)
		}
	}
	return out
}

func start(t *testing.T, name string, env ...string) *process {
	t.Helper()
	return startWith(t, name, nil, env...)
}

// startWith runs a program with arguments, in a folder of its own.
func startWith(t *testing.T, name string, args []string, env ...string) *process {
	t.Helper()
	p := &process{
		t: t, name: name, stdout: &output{}, stderr: &output{}, ended: make(chan struct{}),
		cmd: exec.Command(filepath.Join(binaries, name), args...),
	}
	p.cmd.Env, p.cmd.Dir = environment(env), t.TempDir()
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	p.pipe = stdout
	require.NoError(t, p.cmd.Start())
	var readers sync.WaitGroup
	readers.Go(func() { p.stdout.read(stdout) })
	readers.Go(func() { p.stderr.read(stderr) })
	go func() {
		defer close(p.ended)
		readers.Wait()
		_ = p.cmd.Wait() // the exit code is read from ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("stderr of %s:\n%s", name, p.stderr.tail(60))
		}
	})
	return p
}

// startFunction runs a function on a free port and gives its URL.
func startFunction(t *testing.T, name string, env ...string) (url string, p *process) {
	t.Helper()
	p = start(t, name, append(env, "PORT=0")...)
	p.await("listening")
	_, port, _ := strings.Cut(p.stderr.find("listening")["address"].(string), "]:")
	return "http://127.0.0.1:" + port, p
}

// startWatcher runs the watcher until it is ready.
func (c *cluster) startWatcher(env ...string) *process {
	c.t.Helper()
	p := start(c.t, "watcher", c.watcherEnv(env...)...)
	p.await("ready")
	return p
}

// watcherEnv has the watcher watch the test's namespace.
func (c *cluster) watcherEnv(env ...string) []string {
	return append([]string{
		"KW_KUBECONFIG=" + c.kubeconfig, "KW_METRICS_ADDR=", "KW_NAMESPACE=" + c.namespace, "KW_CLUSTER_NAME=test",
	}, env...)
}

// closeStdout leaves the program with nobody who reads its output.
func (p *process) closeStdout() error { return p.pipe.Close() }

// await waits for a line of the log.
func (p *process) await(msg string) {
	p.t.Helper()
	eventually(p.t, func() bool {
		select {
		case <-p.ended:
			return true
		default:
			return p.stderr.find(msg) != nil
		}
	}, "%s never said %q", p.name, msg)
	require.NotNil(p.t, p.stderr.find(msg), "%s ended: %s", p.name, p.stderr)
}

// stop asks the program to end and gives its exit code.
func (p *process) stop() int {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	return p.wait()
}

func (p *process) wait() int {
	p.t.Helper()
	eventually(p.t, func() bool {
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	}, "%s did not end", p.name)
	return p.cmd.ProcessState.ExitCode()
}

// runToEnd runs a program that ends by itself.
func runToEnd(t *testing.T, name string, args, env []string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(binaries, name), args...)
	cmd.Env = environment(env)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}
