package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// grace is the time from SIGTERM to SIGKILL, and how long a command that has
// ended is waited for if others hold its stdout.
const grace = 2 * time.Second

// command is what is run for an event.
type command struct {
	cfg  Config
	name string // of the program, for errors
	path string
	args []string
	env  []string          // what it gets of the function's own
	hide *strings.Replacer // takes the values of EXEC_ENV out of what is shown
}

func newCommand(cfg Config) (*command, error) {
	c := &command{cfg: cfg, env: environment(cfg.Env), hide: hider(cfg.Env)}
	variable := "EXEC_COMMAND"
	switch {
	case strings.TrimSpace(cfg.Command) == "" && strings.TrimSpace(cfg.Shell) == "":
		return nil, errors.New("EXEC_COMMAND is not set: want a program and its arguments, or EXEC_SHELL")
	case cfg.Command != "" && cfg.Shell != "":
		return nil, errors.New("EXEC_COMMAND and EXEC_SHELL are both set: want one of them")
	case cfg.Shell != "":
		variable, c.path, c.args = "EXEC_SHELL", "/bin/sh", []string{"-c", cfg.Shell}
	default:
		words, err := split(cfg.Command)
		if err != nil {
			return nil, fmt.Errorf("EXEC_COMMAND: %w", err)
		}
		c.path, c.args = words[0], words[1:]
	}
	c.name = filepath.Base(c.path)
	if cfg.Dir != "" {
		if info, err := os.Stat(cfg.Dir); err != nil || !info.IsDir() {
			return nil, errors.New("EXEC_DIR: is no folder")
		}
		if strings.Contains(c.path, "/") && !filepath.IsAbs(c.path) {
			c.path = filepath.Join(cfg.Dir, c.path)
		}
	}
	path, err := exec.LookPath(c.path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", variable, c.name, cause(err))
	}
	c.path = path
	return c, nil
}

// cause leaves out the path and what was done.
func cause(err error) error {
	if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return err
}

func (c *command) String() string {
	if c.cfg.Shell != "" {
		return "run a line of shell"
	}
	if len(c.args) == 1 {
		return "run " + c.name + " with 1 argument"
	}
	return fmt.Sprintf("run %s with %d arguments", c.name, len(c.args))
}

// output is what a command that came to its end of its own printed, and its
// exit code.
type output struct {
	name   string
	code   int
	stdout []byte
	stderr string // its last line
	hide   *strings.Replacer
}

// run runs the command once and waits until it and its process group are gone.
func (c *command) run(ctx context.Context, e *event.Event) (*output, error) {
	stdin, err := c.stdin(e)
	if err != nil {
		return nil, event.Permanent(err)
	}
	timed, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	limited, stop := context.WithCancel(timed)
	defer stop()
	cmd := exec.CommandContext(limited, c.path, c.args...) //nolint:gosec // to run it is what the function is for
	stdout, stderr := &head{most: c.cfg.MaxOutput, full: stop}, &tail{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), stdout, stderr
	cmd.Dir, cmd.Env = c.cfg.Dir, append(c.env[:len(c.env):len(c.env)], variables(e)...)
	cmd.WaitDelay = grace
	group(cmd)
	if err := cmd.Start(); err != nil {
		return nil, again("%s cannot be started: %w", c.name, cause(err))
	}
	err = cmd.Wait()
	endGroup(cmd) // whoever it left behind
	switch {
	case stdout.over:
		return nil, event.Permanent(fmt.Errorf("%s printed more than %d bytes: EXEC_MAX_OUTPUT allows more", c.name, c.cfg.MaxOutput))
	case ctx.Err() != nil:
		return nil, again("%s was ended: nobody waits for it any more", c.name)
	case timed.Err() != nil:
		return nil, again("%s did not end within %s", c.name, c.cfg.Timeout)
	}
	out := &output{name: c.name, code: cmd.ProcessState.ExitCode(), stdout: stdout.b.Bytes(), stderr: c.hide.Replace(stderr.line()), hide: c.hide}
	if out.code < 0 {
		return nil, event.Permanent(errors.New(c.name + " was ended by " + strings.TrimPrefix(cmd.ProcessState.String(), "signal: ") + " " + out.stderr))
	}
	if err != nil && out.code == 0 && !errors.Is(err, exec.ErrWaitDelay) {
		return nil, again("%s: %w", c.name, cause(err))
	}
	return out, nil
}

// stdin is the event as a CloudEvent in JSON.
func (c *command) stdin(e *event.Event) ([]byte, error) {
	out, err := e.ToCloudEvent()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return append(raw, '\n'), nil
}
