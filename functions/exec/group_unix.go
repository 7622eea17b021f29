//go:build unix && !linux

package exec

import (
	"os/exec"
	"syscall"
)

// group gives a command a process group of its own, which is asked to end with
// it.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}

// endGroup ends who is left of a group. The error says that nobody is.
func endGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
