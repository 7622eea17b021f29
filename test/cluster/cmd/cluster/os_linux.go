package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// ownSession starts a child in a new session. A bound child is killed when the
// thread that started it ends.
func ownSession(bound bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if bound {
		attr.Pdeathsig = syscall.SIGKILL
	}
	return attr
}

// sameSession starts a child that may use the terminal and is asked to end when
// the launcher dies.
func sameSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}

// startTime tells two processes of one pid apart: it is field 22 of
// /proc/<pid>/stat (proc(5)), in clock ticks since boot. A process that has
// ended, though nobody has waited for it yet, has none; one whose other threads
// still end has, for its ports are still taken.
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	// Field 2 is the name in parentheses and may hold spaces and parentheses.
	_, rest, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 20 {
		return "", fmt.Errorf("read the state of process %d: %d fields", pid, len(fields))
	}
	state, threads, began := fields[0][0], string(fields[17]), string(fields[19])
	if (state == 'Z' || state == 'X') && (threads == "0" || threads == "1") {
		return "", os.ErrProcessDone
	}
	return began, nil
}
