// Package log is the function that writes every change to stdout: one line of
// JSON for machines, or a coloured form for people at a terminal. The event
// continues unchanged.
package log

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/kwatchman/kwatchman/event"
)

// Config is what log reads from LOG_*.
type Config struct {
	// Format is "json" or "text". Empty takes text if stdout is a terminal and
	// JSON if not. Text is coloured unless NO_COLOR is set, as no-color.org has
	// it.
	Format string `split_words:"true" desc:"json or text; unset: text on a terminal, else json"`

	out io.Writer // of tests; nil is stdout
}

// New returns the function. An unknown format is an error. A change that could
// not be written is a failure, which is retried.
func New(cfg Config) (event.Handler, error) {
	out := cfg.out
	if out == nil {
		out = os.Stdout
	}
	format := cfg.Format
	if format == "" {
		format = formatFor(out)
	}
	var write func(context.Context, *event.Event) error
	switch format {
	case "json":
		write = jsonWriter(&sink{w: out})
	case "text":
		write = textWriter(&sink{w: out}, os.Getenv("NO_COLOR") == "")
	default:
		return nil, errors.New("LOG_FORMAT: bad value: want json or text")
	}
	return func(ctx context.Context, e event.Event) (*event.Event, error) {
		if err := write(ctx, &e); err != nil {
			return nil, fmt.Errorf("write change: %w", err)
		}
		return &e, nil
	}, nil
}

func formatFor(out io.Writer) string {
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return "text"
	}
	return "json"
}

// textWriter writes events for people, each in one piece.
func textWriter(w io.Writer, coloured bool) func(context.Context, *event.Event) error {
	return func(_ context.Context, e *event.Event) error {
		var b bytes.Buffer
		page{&b, coloured}.event(e)
		_, err := w.Write(b.Bytes())
		return err
	}
}

// sink takes one write at a time, so that the changes of many events never
// mix, and fails when a write falls short.
type sink struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return n, err
}
