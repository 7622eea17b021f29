//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kwatchman/kwatchman/event"
)

// backup is a control plane of a test's own whose etcd can be put back to what
// it was.
type backup struct {
	*cluster
	dir, saved string
	binary     string     // of both servers
	commands   [][]string // of etcd and the API server, whose first argument is the name
	running    []*exec.Cmd
}

func newBackup(t *testing.T) *backup {
	t.Helper()
	b := &backup{dir: filepath.Join(t.TempDir(), "cluster"), saved: filepath.Join(t.TempDir(), "etcd")}
	launcher := os.Getenv(launcherEnv)
	out, err := exec.Command(launcher, "start", "--dir", b.dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() {
		b.end()
		if t.Failed() {
			for _, name := range []string{"etcd", "kube-apiserver"} {
				text, _ := os.ReadFile(filepath.Join(b.dir, "test-"+name+".log"))
				t.Logf("log of %s:\n%s", name, text[max(0, len(text)-3000):])
			}
		}
		for _, name := range []string{"etcd", "kube-apiserver"} {
			_ = os.Remove(filepath.Join(b.dir, "test-"+name+".log"))
		}
		out, err := exec.Command(launcher, "stop", "--dir", b.dir).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	b.cluster = newClusterAt(t, filepath.Join(b.dir, "kubeconfig"))
	// From here on the servers are the test's own processes.
	for _, name := range []string{"etcd", "kube-apiserver"} {
		pid := b.pid(name)
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		require.NoError(t, err)
		b.commands = append(b.commands, strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00"))
		b.binary, err = os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		require.NoError(t, err)
	}
	for _, name := range []string{"kube-apiserver", "etcd"} {
		pid := b.pid(name)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		eventually(t, func() bool { return gone(pid) }, "%s ends", name)
	}
	b.start()
	return b
}

// gone tells whether a process has ended, reaped or not.
func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(after, "Z")
}

func (b *backup) pid(name string) int {
	text, err := os.ReadFile(filepath.Join(b.dir, name+".pid"))
	require.NoError(b.t, err)
	pid, err := strconv.Atoi(strings.Fields(string(text))[0])
	require.NoError(b.t, err)
	return pid
}

func (b *backup) start() {
	b.t.Helper()
	b.launch("etcd", b.commands[0])
	eventually(b.t, func() bool { // the API server ends if it finds no etcd
		resp, err := http.Get(flagOf(b.t, b.commands[0], "--listen-client-urls=") + "/health")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, "etcd answers")
	b.launch("kube-apiserver", b.commands[1])
	eventually(b.t, func() bool {
		_, err := b.client.Resource(configMaps).Namespace(b.namespace).List(context.Background(), metav1.ListOptions{})
		return err == nil
	}, "the API server answers")
}

// launch starts a server, whose log is shown if the test fails.
func (b *backup) launch(name string, command []string) {
	b.t.Helper()
	log, err := os.Create(filepath.Join(b.dir, "test-"+name+".log"))
	require.NoError(b.t, err)
	defer func() { _ = log.Close() }() // the server has its own
	cmd := exec.Command(b.binary)
	cmd.Args = command
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.dir, log, log
	require.NoError(b.t, cmd.Start())
	b.running = append(b.running, cmd)
}

// flagOf is the value of a flag of a command.
func flagOf(t *testing.T, command []string, flag string) string {
	t.Helper()
	for _, arg := range command {
		if value, ok := strings.CutPrefix(arg, flag); ok {
			return value
		}
	}
	require.Fail(t, "no flag "+flag)
	return ""
}

func (b *backup) end() {
	for _, cmd := range b.running {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
	b.running = nil
}

// save keeps what etcd has, restore puts it back.
func (b *backup) save() {
	b.end()
	require.NoError(b.t, os.CopyFS(b.saved, os.DirFS(filepath.Join(b.dir, "etcd"))))
	b.start()
}

func (b *backup) restore() {
	b.end()
	require.NoError(b.t, os.RemoveAll(filepath.Join(b.dir, "etcd")))
	require.NoError(b.t, os.CopyFS(filepath.Join(b.dir, "etcd"), os.DirFS(b.saved)))
	b.start()
}

func TestFaultHistoryGoesBack(t *testing.T) {
	faults(t)
	c := newBackup(t)
	sink := record(t, nil)
	c.create(configMaps, configMap("a", map[string]any{"n": "0"}))
	c.save()
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+t.TempDir())
	sent := 0
	for round, stops := range []bool{true, false} {
		at := len(sink.got("a"))
		for n := range 30 {
			c.patch(configMaps, "a", fmt.Sprintf(`{"data":{"n":"%d"}}`, n+1))
		}
		c.create(configMaps, configMap("new", nil))
		sink.await(t, "a", at+30)
		sink.await(t, "new", 2*round+1)
		if stops {
			require.Equal(t, 0, w.stop())
		}
		c.restore()
		if stops {
			w = w.again()
		}
		back := sink.await(t, "a", at+31)[at+30]
		require.Equal(t, event.ViaRelist, back.Via)
		require.Contains(t, string(back.OldObject), `"n":"30"`)
		require.Contains(t, string(back.Object), `"n":"0"`)
		require.Equal(t, event.Delete, sink.await(t, "new", 2*round+2)[2*round+1].Action)
		c.patch(configMaps, "a", `{"data":{"n":"after"}}`)
		require.Contains(t, string(sink.await(t, "a", at+32)[at+31].Object), `"n":"after"`)
		c.patch(configMaps, "a", `{"data":{"n":"0"}}`)
		sink.await(t, "a", at+33)
		sent += 35
		require.Contains(t, w.stderr.String(), "history went back behind what was seen")
	}
	require.Equal(t, 0, w.stop())
	judged(t, "etcd put back to a backup", "twice", verdict{sent: sent, arrived: len(sink.got(""))})
	require.Len(t, sink.got(""), sent)
}
