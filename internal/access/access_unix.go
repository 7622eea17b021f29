//go:build unix

// Package access tells whether a file may be written, without a try.
package access

import "golang.org/x/sys/unix"

// Writable is nil if this process may write a file, or into a folder.
func Writable(path string) error { return unix.Access(path, unix.W_OK) }
