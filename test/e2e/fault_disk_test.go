//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFaultFullDisk(t *testing.T) {
	faults(t)
	if os.Geteuid() != 0 {
		t.Skip("mounts a tmpfs, which only root may")
	}
	dir := t.TempDir()
	mount := func(flags uintptr, options string) {
		t.Helper()
		require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", flags, options))
	}
	mount(0, "size=1m")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	c := newCluster(t)
	l := newLedger(c)
	s := newSink(t, unless(answer(503)))
	l.createAll(t, 40)
	w := c.startWatcher("KW_HANDLERS="+s.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+dir, "KW_RETRY_WAIT_MAX=1s")
	l.baseline()
	ended := func() bool {
		select {
		case <-w.ended:
			return true
		default:
			return false
		}
	}
	for n := 0; n < 200 && !ended(); n++ {
		l.updateAll(t, 40, 40, 0)
	}
	require.Equal(t, 1, w.wait())
	require.Contains(t, w.stderr.String(), "watcher: state: "+filepath.Join(dir, "state.db")+
		" cannot be written: no space left on device: make room and start again; nothing is lost until then")

	code, _, stderr := runToEnd(t, "watcher", nil, w.cmd.Env)
	require.Equal(t, 1, code, "the disk is still full")
	require.Contains(t, stderr, "no space left on device")

	mount(syscall.MS_REMOUNT, "size=64m")
	l.updateAll(t, 40, 40, 0)
	s.mend(nil)
	w = start(t, "watcher", w.cmd.Env...)
	awaitFor(t, 2*time.Minute, func() bool { return l.missing(s, false) == 0 }, "everything arrives")
	require.Equal(t, 0, w.stop())
	judged(t, "disk full (tmpfs of 1 MiB)", "once", l.judge(s.got(), false))
}
