package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long a server may take to end by itself. Its data goes with
// it, so little is lost when it does not.
const stopGrace = 5 * time.Second

// running returns the process that the pid file notes, or nil if it has ended:
// a process that has got the same pid since is not it. The handle is taken
// before the check, and it stays with one process even if the pid moves on.
func (d dir) running(server string) *os.Process {
	content, err := os.ReadFile(d.pid(server))
	if err != nil {
		return nil
	}
	line, began, _ := strings.Cut(strings.TrimSpace(string(content)), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil || pid <= 1 || began == "" {
		return nil
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return nil
	}
	if now, err := startTime(pid); err != nil || now != began {
		_ = p.Release()
		return nil
	}
	return p
}

func (d dir) anyRunning() bool {
	return slices.ContainsFunc(serverNames, func(server string) bool {
		p := d.running(server)
		if p == nil {
			return false
		}
		_ = p.Release()
		return true
	})
}

// endAll ends every server that the pid files note, those that use another first.
func (d dir) endAll(grace time.Duration) error {
	var failed []error
	for _, server := range slices.Backward(serverNames) {
		failed = append(failed, d.end(server, grace))
	}
	return errors.Join(failed...)
}

// end asks a server to end, insists after grace, and returns when it is gone.
func (d dir) end(server string, grace time.Duration) error {
	p := d.running(server)
	if p == nil {
		return nil
	}
	defer func() { _ = p.Release() }()
	if grace > 0 {
		_ = p.Signal(syscall.SIGTERM)
		if d.waitGone(server, grace) {
			return nil
		}
	}
	_ = p.Kill()
	if !d.waitGone(server, stopGrace) {
		return fmt.Errorf("end %s: process %d does not end", server, p.Pid)
	}
	return nil
}

func (d dir) waitGone(server string, limit time.Duration) bool {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		p := d.running(server)
		if p == nil {
			return true
		}
		_ = p.Release()
	}
	return false
}
