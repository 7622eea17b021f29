package state

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"
)

// unusable says why a file cannot be opened, and what to do.
func unusable(path string, err error) error {
	if _, ok := errors.AsType[said](err); ok {
		return err
	}
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("state %s is in use by another process: stop it, or give each watcher a KW_STATE_DIR of its own", path)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("state: %w", cannotWrite(path, err))
	}
	return damaged(path, err)
}

// damaged says that a file cannot be trusted. It is left as it is.
func damaged(path string, err error) error {
	return said(fmt.Sprintf("state %s is damaged (%v): put back a copy of it, or move it away to start anew "+
		"without knowing what changed meanwhile", path, err))
}

// said is an error that says all that there is to say.
type said string

func (s said) Error() string { return string(s) }

// cannotWrite says what to do about a folder or a file.
func cannotWrite(path string, err error) error {
	err = reason(err)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), strings.Contains(err.Error(), syscall.ENOSPC.Error()):
		return fmt.Errorf("%s cannot be written: no space left on device: make room and start again; nothing is lost until then", path)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s cannot be written: %w: make it writable for this user, or choose another folder", path, err)
	}
	return fmt.Errorf("%s cannot be written: %w", path, err)
}

// reason leaves out the path, which is said already.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
