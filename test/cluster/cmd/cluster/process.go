package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// process is a child of this launcher.
type process struct {
	name string
	pid  int
	log  string        // path of its output, empty if it shares the launcher's
	done chan struct{} // closed once it has ended
	err  error         // why, valid after done
}

// launch starts cmd and waits for it in the background. The system ties a
// bound child's life to the thread that started it, not to the process, hence
// one locked thread that stays until the child has ended.
func launch(name string, cmd *exec.Cmd) (*process, error) {
	p := &process{name: name, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// launchServer starts a server of the control plane with its output in a log
// file. A bound one dies with the launcher, any other survives it. Each has a
// session of its own, so that an interrupt at the terminal does not reach it
// before the command that uses it has ended.
func launchServer(d dir, name, binary string, args []string, bound bool) (*process, error) {
	log, err := os.OpenFile(d.log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(binary, args...)
	cmd.Args[0] = name // by which what it writes is known
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = string(d)
	cmd.SysProcAttr = ownSession(bound)
	p, err := launch(name, cmd)
	if err != nil {
		return nil, err
	}
	p.log = log.Name()
	if err := d.writePID(name, p.pid); err != nil {
		_ = cmd.Process.Kill()
		<-p.done
		return nil, err
	}
	return p, nil
}

// diedError is a server that ended before it was ready.
type diedError struct{ name, reason, log string }

func (e *diedError) Error() string {
	return fmt.Sprintf("%s %s; the end of its log:\n%s", e.name, e.reason, e.log)
}

func (e *diedError) addressInUse() bool { return strings.Contains(e.log, "address already in use") }

func (p *process) died() *diedError {
	reason := "ended"
	if p.err != nil {
		reason = "ended with " + p.err.Error()
	}
	return &diedError{name: p.name, reason: reason, log: tail(p.log)}
}

// tail returns the last lines of a log, as much as helps and fits a screen.
func tail(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return "  (no log: " + err.Error() + ")"
	}
	return lastLines(string(content), 15)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return "  " + strings.Join(lines, "\n  ")
}
