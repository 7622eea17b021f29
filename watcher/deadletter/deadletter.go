// Package deadletter keeps events in a file, those that are given up or all
// that are sent: one CloudEvent in JSON a line, only ever appended to, so that
// people can read it and replay can send it again.
package deadletter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/access"
)

// FileName is the default's, in the folder of the state.
const FileName = "dead-letter.jsonl"

// File is a dead letter in a file. It is opened for each event, so that it may
// be moved away at any time.
type File struct {
	path   string
	synced bool // an event is on the disk when Put returns
	mu     sync.Mutex
}

// NewFile checks that the file can be appended to. It is not made before there
// is something to keep.
func NewFile(path string) (*File, error) {
	if err := Check(path); err != nil {
		return nil, err
	}
	return &File{path: path, synced: true}, nil
}

// NewRecording is NewFile for events that are also elsewhere: what the system
// has not written to the disk when it crashes is not worth waiting for.
func NewRecording(path string) (*File, error) {
	if err := writable(path); err != nil {
		return nil, err
	}
	return &File{path: path}, nil
}

// Check tells why a file could not be appended to, and changes nothing.
func Check(path string) error {
	if err := writable(path); err != nil {
		return fmt.Errorf("dead letter %w", err)
	}
	return nil
}

func writable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		dir := filepath.Dir(path)
		if info, err = os.Stat(dir); err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err == nil {
			err = access.Writable(dir)
		}
	case err == nil && !info.Mode().IsRegular():
		err = errors.New("is no regular file")
	case err == nil:
		err = access.Writable(path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, reason(err))
	}
	return nil
}

// reason leaves out the path, which is said already.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// Name is the path.
func (f *File) Name() string { return f.path }

// Put appends an event, and in a dead letter returns when it is on the disk. A
// line that a crash or a full disk cut short stays alone on its line.
func (f *File) Put(_ context.Context, e *event.Event) error {
	out, err := e.ToCloudEvent()
	if err != nil {
		return err
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false) // the data stays as it came
	if err := encoder.Encode(out); err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.write(line.Bytes())
}

func (f *File) write(line []byte) (err error) {
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return reason(err)
	}
	defer func() { err = reason(errors.Join(err, file.Close())) }()
	if cut, err := endsAmidLine(file); err != nil {
		return err
	} else if cut {
		line = append([]byte("\n"), line...)
	}
	if _, err := file.Write(line); err != nil || !f.synced {
		return err
	}
	return file.Sync()
}

// endsAmidLine tells whether the last line has no end.
func endsAmidLine(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return last[0] != '\n', err
}
