package watcher

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"

	"github.com/kwatchman/kwatchman/event"
)

// maxEvent bounds an event in a file in bytes.
const maxEvent = 64 << 20

// readEvents calls each with the events of a file, "-" for stdin: CloudEvents in
// JSON, one a line, as a recording or a dead letter has them, or one by one over
// several lines. A line that is no JSON, as a crash leaves one behind, is
// passed over with a warning.
func readEvents(path string, stdin io.Reader, log *slog.Logger, each func(event.Event) error) error {
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, bare(err))
		}
		defer func() { _ = file.Close() }() // it was only read
		in = file
	}
	r := &eventReader{path: path, in: bufio.NewReaderSize(in, 64<<10), log: log, each: each}
	if err := r.lines(); err != nil {
		return err
	}
	if r.events == 0 {
		return fmt.Errorf("%s: holds no event: want CloudEvents in JSON, as --record writes them", path)
	}
	return nil
}

// bare leaves out the path, which is said already.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

type eventReader struct {
	path   string
	in     *bufio.Reader
	log    *slog.Logger
	each   func(event.Event) error
	line   int
	events int
}

func (r *eventReader) lines() error {
	for {
		raw, err := r.next()
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return fmt.Errorf("%s: line %d: %w", r.path, r.line+1, bare(err))
		}
		r.line++
		switch text := bytes.TrimSpace(raw); {
		case len(text) == 0:
		case json.Valid(text):
			if err := r.event(text); err != nil {
				return err
			}
		case r.events == 0 && text[0] == '{' && !end: // perhaps one over several lines
			return r.documents(raw)
		case r.events == 0: // no recording at all
			return fmt.Errorf("%s: line %d is no JSON: want CloudEvents in JSON, as --record writes them", r.path, r.line)
		default:
			r.log.Warn("line is no event, as a crash leaves one behind; it is passed over", "file", r.path, "line", r.line)
		}
		if end {
			return nil
		}
	}
}

// next reads a line.
func (r *eventReader) next() ([]byte, error) {
	var line []byte
	for {
		part, err := r.in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxEvent {
			return nil, fmt.Errorf("longer than %d bytes", maxEvent)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// documents reads events that take several lines each.
func (r *eventReader) documents(begin []byte) error {
	dec := json.NewDecoder(io.LimitReader(io.MultiReader(bytes.NewReader(begin), r.in), maxEvent))
	for {
		var raw json.RawMessage
		switch err := dec.Decode(&raw); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: event %d is no JSON that ends within %d bytes", r.path, r.events+1, maxEvent)
		}
		if err := r.event(raw); err != nil {
			return err
		}
	}
}

func (r *eventReader) event(raw []byte) error {
	e, err := event.Decode(http.Header{"Content-Type": {"application/cloudevents+json"}}, raw)
	if err != nil {
		return fmt.Errorf("%s: line %d is no event of kwatchman: %w", r.path, r.line, err)
	}
	r.events++
	return r.each(e)
}
