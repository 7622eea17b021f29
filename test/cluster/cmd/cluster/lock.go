package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lock takes the lock file at path, which it makes if need be, and returns what
// releases it. The kernel releases it too when the process dies. If somebody
// else holds it, waiting goes to stderr once.
func lock(ctx context.Context, path, waiting string) (unlock func(), err error) {
	for {
		f, err := tryLock(path)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if waiting != "" {
			fmt.Fprintln(os.Stderr, waiting+" …")
			waiting = ""
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: interrupted", path)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tryLock fails with EWOULDBLOCK when it is worth another try.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	// The previous holder may have removed the file: then this lock guards nothing.
	held, err := f.Stat()
	if err == nil {
		var current os.FileInfo
		if current, err = os.Stat(path); err == nil && os.SameFile(held, current) {
			return f, nil
		}
	}
	_ = f.Close()
	return nil, syscall.EWOULDBLOCK
}
