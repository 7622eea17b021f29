//go:build !linux

package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// ownSession starts a child in a new session. Only Linux can bind a child to
// the launcher's life; elsewhere a killed launcher leaves its servers behind.
func ownSession(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func sameSession() *syscall.SysProcAttr { return nil }

// startTime tells two processes of one pid apart.
func startTime(pid int) (string, error) {
	out, err := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return "", os.ErrProcessDone // ps finds no such process
	}
	state, began, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if strings.HasPrefix(state, "Z") {
		return "", os.ErrProcessDone
	}
	return strings.TrimSpace(began), nil
}
