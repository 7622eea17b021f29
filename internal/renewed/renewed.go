// Package renewed follows files that are renewed while they are in use, as Kubernetes
// renews what it mounts: by another target of a link.
package renewed

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/kwatchman/kwatchman/internal/seldom"
)

// every is how often the files are looked at, at most.
const every = time.Second

// maxFile bounds a file in bytes.
const maxFile = 1 << 20

// Files holds what is made of files. It is safe for use by several goroutines.
type Files[T any] struct {
	paths []string
	load  func() (T, error)
	say   func(error)

	mu      sync.Mutex
	looked  time.Time
	stamp   string
	current T
	failed  bool
	said    seldom.Line
}

// Open calls load, which reads the files at paths; an empty path is none. When they
// have changed, Current calls it again. say is told, once a minute, that they
// cannot be used: what they held before stays in use.
func Open[T any](paths []string, load func() (T, error), say func(error)) (*Files[T], error) {
	f := &Files[T]{paths: paths, load: load, say: say}
	f.stamp = f.stampNow()
	loaded, err := load()
	if err != nil {
		return nil, err
	}
	f.current, f.looked = loaded, time.Now()
	return f, nil
}

// Current is what the files hold now, or held when they last could be used.
func (f *Files[T]) Current() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.looked) >= every {
		f.lookNow()
	}
	return f.current
}

// Look is Current, however short ago the last look was.
func (f *Files[T]) Look() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookNow()
	return f.current
}

func (f *Files[T]) lookNow() {
	f.looked = time.Now()
	stamp := f.stampNow()
	if stamp == f.stamp && !f.failed {
		return
	}
	loaded, err := f.load()
	if err == nil {
		f.stamp, f.current, f.failed, f.said = stamp, loaded, false, seldom.Line{}
		return
	}
	f.failed = true // it may be half written; the next look tries again
	if f.said.Due() {
		f.say(fmt.Errorf("%w; what was read before stays in use", err))
	}
}

// stampNow changes when a file does, also when a link leads elsewhere.
func (f *Files[T]) stampNow() (stamp string) {
	for _, path := range f.paths {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			stamp += fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size(), "\n")
		} else {
			stamp += "gone\n"
		}
	}
	return stamp
}

// Read reads a file whole. The error names the setting and not the path.
func Read(setting, path string) ([]byte, error) {
	text, err := read(path)
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", setting, err)
	}
	return text, nil
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file") // a pipe would wait for who writes to it
	}
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if len(text) > maxFile {
		return nil, errors.New("it is larger than 1 MiB")
	}
	return text, err
}
