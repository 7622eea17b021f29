// Package log is the function that writes every change to stdout: one line of
// JSON for machines, with the attribute names of OpenTelemetry or of the Elastic
// Common Schema, or a coloured form for people at a terminal. The event
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
	// Format is "json", "ecs", "text" or "compact". Empty takes text if stdout
	// is a terminal and JSON if not.
	Format string `split_words:"true" desc:"json, ecs, text or compact; unset: text on a terminal, else json"`
	// Color is "auto", "always" or "never". Auto, and empty, colours text on a
	// terminal unless NO_COLOR is set, as no-color.org has it.
	Color string `split_words:"true" desc:"colours in text and compact: auto, always or never"`
	// Width cuts the lines of text and compact, in columns. 0 cuts compact at
	// the width of the terminal and nothing else.
	Width int `split_words:"true" desc:"columns to cut lines of text and compact at; 0: of compact the terminal's, of text none"`
	// Lines is how many lines of a payload text shows; 0 is all.
	Lines int `split_words:"true" desc:"lines of a diff that text shows; 0: all"`

	out io.Writer // of tests; nil is stdout
}

// Default is what holds where nothing is set.
func Default() Config { return Config{Color: "auto"} }

// New returns the function. A setting that cannot be is an error. A change that
// could not be written is a failure, which is retried.
func New(cfg Config) (event.Handler, error) {
	out := cfg.out
	if out == nil {
		out = os.Stdout
	}
	write, err := writer(cfg, out)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, e event.Event) (*event.Event, error) {
		if would, ok := event.Rehearsing(ctx); ok {
			return &e, rehearse(ctx, cfg, out, &e, would)
		}
		if err := write(ctx, &e); err != nil {
			return nil, fmt.Errorf("write change: %w", err)
		}
		return &e, nil
	}, nil
}

// rehearse says what would be written to out.
func rehearse(ctx context.Context, cfg Config, out io.Writer, e *event.Event, would func(string)) error {
	if cfg.Format == "" {
		cfg.Format = formatFor(out)
	}
	if cfg.Format == "compact" {
		cfg.Width = widthOf(cfg.Width, out)
	}
	if coloured, _ := colours(cfg.Color, out); coloured { // New has checked it
		cfg.Color = "always"
	}
	var b bytes.Buffer
	write, err := writer(cfg, &b)
	if err == nil {
		err = write(ctx, e)
	}
	if err != nil {
		return fmt.Errorf("write change: %w", err)
	}
	would("print\n" + b.String())
	return nil
}

type writeEvent func(context.Context, *event.Event) error

func writer(cfg Config, out io.Writer) (writeEvent, error) {
	coloured, err := colours(cfg.Color, out)
	if err != nil {
		return nil, err
	}
	if cfg.Width < 0 {
		return nil, errors.New("LOG_WIDTH: bad value: want a number of columns, or 0")
	}
	if cfg.Lines < 0 {
		return nil, errors.New("LOG_LINES: bad value: want a number of lines, or 0 for all")
	}
	format := cfg.Format
	if format == "" {
		format = formatFor(out)
	}
	to := &sink{w: out}
	switch format {
	case "json":
		return jsonWriter(to, nil, openTelemetry), nil
	case "ecs":
		return jsonWriter(to, ecsNames, elastic), nil
	case "text":
		return pageWriter(to, coloured, func() int { return cfg.Width }, func(p *page, e *event.Event) { p.event(e, cfg.Lines) }), nil
	case "compact":
		return pageWriter(to, coloured, func() int { return widthOf(cfg.Width, out) }, (*page).compact), nil
	}
	return nil, errors.New("LOG_FORMAT: bad value: want json, ecs, text or compact")
}

func formatFor(out io.Writer) string {
	if _, ok := terminal(out); ok {
		return "text"
	}
	return "json"
}

// colours tells whether to paint.
func colours(setting string, out io.Writer) (bool, error) {
	switch setting {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "", "auto":
		_, ok := terminal(out)
		return ok && os.Getenv("NO_COLOR") == "", nil
	}
	return false, errors.New("LOG_COLOR: bad value: want auto, always or never")
}

// widthOf is where a line is cut: as set, or at the width that the terminal has
// now. 0 is nowhere.
func widthOf(set int, out io.Writer) int {
	if fd, ok := terminal(out); ok && set == 0 {
		if width, _, err := term.GetSize(fd); err == nil {
			return width
		}
	}
	return set
}

func terminal(out io.Writer) (fd int, ok bool) {
	f, ok := out.(*os.File)
	if !ok {
		return 0, false
	}
	return int(f.Fd()), term.IsTerminal(int(f.Fd()))
}

// pageWriter writes events for people, each in one piece.
func pageWriter(w io.Writer, coloured bool, width func() int, draw func(*page, *event.Event)) writeEvent {
	return func(_ context.Context, e *event.Event) error {
		p := &page{coloured: coloured, width: width()}
		draw(p, e)
		_, err := w.Write(p.b.Bytes())
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
