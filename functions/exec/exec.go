// Package exec is the function that runs a command for each event: the event on
// its stdin and in its environment, its exit code decides what becomes of the
// event, its stdout becomes the payload.
package exec

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/kwatchman/kwatchman/event"
)

// Config is what exec reads from EXEC_*.
type Config struct {
	// Command is a program and its arguments, divided by spaces. Quotes and
	// backslashes keep what is within them; nothing is expanded.
	Command string `split_words:"true" desc:"the program and its arguments; no shell, nothing is expanded; this or shell is required"`
	// Shell is a line for /bin/sh -c.
	Shell string `split_words:"true" desc:"a line for /bin/sh, in place of command"`
	// Dir is the command's working folder.
	Dir string `split_words:"true" desc:"the command's working folder; unset: that of the function"`
	// Env names variables of the function that the command gets too. It may hold
	// secrets, whose values no log shows.
	Env []string `split_words:"true" desc:"variables of the function that the command gets too, separated by commas; of its own it gets PATH, HOME, LANG, TZ and TMPDIR"`
	// Timeout is the command's time; then its whole process group is ended.
	Timeout time.Duration `split_words:"true" desc:"time for the command"`
	// MaxOutput bounds stdout in bytes.
	MaxOutput int `split_words:"true" desc:"bytes of stdout; who prints more is ended, and the event given up"`
	// Concurrency is how many commands run at once.
	Concurrency int `split_words:"true" desc:"commands that run at once; further events wait"`
	// ContentType is that of stdout as a payload.
	ContentType string `split_words:"true" desc:"content type of what the command prints"`
}

// Default is what holds where nothing is set.
func Default() Config {
	return Config{Timeout: 10 * time.Second, MaxOutput: 256 << 10, Concurrency: 4, ContentType: "text/plain; charset=utf-8"}
}

// The exit codes with a meaning, from sysexits.h.
const (
	exitAgain = 75 // EX_TEMPFAIL
	exitStop  = 78 // EX_CONFIG
)

// maxOutput keeps an event with its payload below the limit of a body.
const maxOutput = 4 << 20

// New checks that the command can be run and returns the function. Its errors
// show no argument, which may be a secret.
func New(cfg Config) (event.Handler, error) {
	switch {
	case cfg.Timeout <= 0:
		return nil, errors.New("EXEC_TIMEOUT: bad value: want a duration such as 10s")
	case cfg.MaxOutput < 1 || cfg.MaxOutput > maxOutput:
		return nil, fmt.Errorf("EXEC_MAX_OUTPUT: bad value: want 1 to %d bytes", maxOutput)
	case cfg.Concurrency < 1 || cfg.Concurrency > 256:
		return nil, errors.New("EXEC_CONCURRENCY: bad value: want 1 to 256")
	}
	c, err := newCommand(cfg)
	if err != nil {
		return nil, err
	}
	slots := make(chan struct{}, cfg.Concurrency)
	return func(ctx context.Context, e event.Event) (*event.Event, error) {
		if would, ok := event.Rehearsing(ctx); ok {
			would(c.String() + ", with the event on its stdin")
			return &e, nil
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			return nil, again("%s did not get its turn in time", c.name)
		}
		out, err := c.run(ctx, &e)
		if err != nil {
			return nil, err
		}
		return out.answer(&e, cfg.ContentType)
	}, nil
}

// again is a failure that may pass.
func again(format string, args ...any) error {
	return &event.Error{Status: http.StatusServiceUnavailable, Err: fmt.Errorf(format, args...)}
}
