package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that is measured.
type process struct {
	name    string
	pid     int
	started time.Time
	cmd     *exec.Cmd
	first   chan map[string]any // the log line that was waited for
	ended   chan struct{}

	mu   sync.Mutex
	tail []string // of stderr
}

// launch says what to run.
type launch struct {
	path  string
	env   []string
	until string       // the message of the log line that says that it has started
	line  func([]byte) // gets each line of stdout; nil: nobody reads it
}

// start runs a program until its log says that it has started. The caller kills
// it.
func (l launch) start(ctx context.Context) (p *process, line map[string]any, err error) {
	p = &process{name: filepath.Base(l.path), first: make(chan map[string]any, 1), ended: make(chan struct{})}
	p.cmd = exec.Command(l.path) //nolint:gosec // our own programs
	p.cmd.Env = append(environment(), l.env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, nil, err
	}
	var stdout io.ReadCloser
	if l.line != nil {
		if stdout, err = p.cmd.StdoutPipe(); err != nil {
			return nil, nil, err
		}
	}
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s (make build?): %w", l.path, err)
	}
	p.pid = p.cmd.Process.Pid
	var readers sync.WaitGroup
	readers.Go(func() { lines(stderr, func(b []byte) { p.read(b, l.until) }) })
	if l.line != nil {
		readers.Go(func() { lines(stdout, l.line) })
	}
	go func() {
		defer close(p.ended)
		readers.Wait()
		_ = p.cmd.Wait() // that it ended is what matters
	}()
	if line, err = p.await(ctx); err != nil {
		p.kill()
		return nil, nil, err
	}
	return p, line, nil
}

// startTimeout bounds how long a program may take to start, all lists included.
const startTimeout = 3 * time.Minute

func (p *process) await(ctx context.Context) (map[string]any, error) {
	t := time.NewTimer(startTimeout)
	defer t.Stop()
	select {
	case line := <-p.first:
		return line, nil
	case <-p.ended:
		return nil, fmt.Errorf("%s did not start%s", p.name, p.said())
	case <-t.C:
		return nil, fmt.Errorf("%s did not start within %s%s", p.name, startTimeout, p.said())
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// lines calls f with each line until r ends.
func lines(r io.Reader, f func([]byte)) {
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := br.ReadBytes('\n')
		if len(line) > 0 {
			f(line)
		}
		if err != nil {
			return
		}
	}
}

const tail = 5 // lines that an error shows

func (p *process) read(line []byte, until string) {
	p.mu.Lock()
	p.tail = append(p.tail, string(line))
	p.tail = p.tail[max(0, len(p.tail)-tail):]
	p.mu.Unlock()
	if until == "" || !strings.Contains(string(line), until) {
		return
	}
	var fields map[string]any
	if json.Unmarshal(line, &fields) == nil && fields["msg"] == until {
		select {
		case p.first <- fields:
		default: // the first counts
		}
	}
}

// said is the end of what it said.
func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tail) == 0 {
		return ""
	}
	return "; it said last:\n" + strings.Join(p.tail, "")
}

// alive is an error if the program has ended by itself.
func (p *process) alive() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended: %s%s", p.name, p.cmd.ProcessState, p.said())
	default:
		return nil
	}
}

// kill ends the program at once: it is ours, and so is all that it wrote.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// environment is ours without what would configure a program.
func environment() []string {
	var out []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch prefix, _, _ := strings.Cut(name, "_"); prefix {
		case "KW", "K", "KUBECONFIG", "KUBERNETES", "KWATCHMAN", "PORT", "SLACK", "LOG", "DIFF", "IGNOREEVENTS", "GOGC", "GOMEMLIMIT",
			"GODEBUG", "GOMAXPROCS", "HTTP", "HTTPS", "NO":
		default:
			out = append(out, kv)
		}
	}
	return out
}
