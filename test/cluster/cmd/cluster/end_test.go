package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func startSleep(t *testing.T, script string) *process {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = ownSession(true)
	p, err := launch("sleep", cmd)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.done
	})
	return p
}

func isAlive(p *process) bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func TestEndEndsTheProcessItNoted(t *testing.T) {
	d := dir(t.TempDir())
	p := startSleep(t, "exec sleep 60")
	require.NoError(t, d.writePID(etcdName, p.pid))
	require.True(t, d.anyRunning())

	require.NoError(t, d.endAll(stopGrace))
	<-p.done
	require.False(t, d.anyRunning())
	require.NoError(t, d.endAll(stopGrace), "nothing left to end is no error")
}

func TestEndInsists(t *testing.T) {
	d := dir(t.TempDir())
	p := startSleep(t, `trap "" TERM; touch "`+d.path("deaf")+`"; while :; do sleep 0.1; done`)
	require.NoError(t, d.writePID(etcdName, p.pid))
	require.Eventually(t, func() bool { _, err := os.Stat(d.path("deaf")); return err == nil }, 5*time.Second, 5*time.Millisecond)

	require.NoError(t, d.end(etcdName, 200*time.Millisecond))
	<-p.done
}

// A pid file outlives a crash and a reboot; its pid may be anybody's by then.
func TestAnotherProcessOfTheSamePIDIsLeftAlone(t *testing.T) {
	began, err := startTime(os.Getpid())
	require.NoError(t, err)
	for name, content := range map[string]func(pid int) string{
		"started at another time": func(pid int) string { return fmt.Sprintf("%d\n%s0\n", pid, began) },
		"no time noted":           func(pid int) string { return fmt.Sprintf("%d\n", pid) },
		"time unreadable":         func(pid int) string { return fmt.Sprintf("%d\n\n", pid) },
	} {
		t.Run(name, func(t *testing.T) {
			d := dir(t.TempDir())
			p := startSleep(t, "exec sleep 60")
			require.NoError(t, os.WriteFile(d.pid(etcdName), []byte(content(p.pid)), 0o600))
			require.NoError(t, d.endAll(stopGrace))
			require.False(t, d.anyRunning())
			require.True(t, isAlive(p))
		})
	}
}

// kill(2) gives pids below 2 another meaning: a whole group, everything.
func TestSpecialPIDsAreNeverSignalled(t *testing.T) {
	d := dir(t.TempDir())
	for _, pid := range []int{1, 0, -1} {
		require.NoError(t, os.WriteFile(d.pid(etcdName), []byte(strconv.Itoa(pid)+"\n1\n"), 0o600))
		require.Nil(t, d.running(etcdName))
	}
}

func TestStopKeepsFilesOfOthers(t *testing.T) {
	d := dir(t.TempDir())
	require.NoError(t, os.WriteFile(d.path("mine"), nil, 0o600))
	require.ErrorContains(t, d.create(), "holds other files")

	require.NoError(t, stop(t.Context(), []string{"--dir", string(d)}))
	require.FileExists(t, d.path("mine"))
	require.NoFileExists(t, d.lock())
}
