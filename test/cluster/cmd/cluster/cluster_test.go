package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func requireBinaries(t *testing.T) *cache {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a control plane")
	}
	c, err := openCache(t.Context())
	require.NoError(t, err)
	if !c.has(controlPlaneProgram) {
		t.Skip("the control plane is not built yet: cluster build builds it")
	}
	return c
}

func stopAfter(t *testing.T, folder string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, run(ctx, []string{"stop", "--dir", folder}))
	})
}

func TestAClusterStartsRestartsAndStops(t *testing.T) {
	requireBinaries(t)
	folder := filepath.Join(t.TempDir(), "a cluster")
	stopAfter(t, folder)
	d := dir(folder)

	require.NoError(t, run(t.Context(), []string{"start", "--dir", folder}))
	require.True(t, d.healthy(t.Context()))
	require.FileExists(t, d.kubeconfig())
	apiServer, etcd := read(t, d.pid(apiServerName)), read(t, d.pid(etcdName))

	require.NoError(t, run(t.Context(), []string{"start", "--dir", folder}))
	require.Equal(t, apiServer, read(t, d.pid(apiServerName)), "a healthy cluster is not started again")

	require.NoError(t, run(t.Context(), []string{"restart", "--dir", folder}))
	require.True(t, d.healthy(t.Context()))
	require.NotEqual(t, apiServer, read(t, d.pid(apiServerName)))
	require.Equal(t, etcd, read(t, d.pid(etcdName)))

	// Half a cluster is none: the next start sweeps it and makes a whole one.
	require.NoError(t, d.end(etcdName, 0))
	require.NoError(t, run(t.Context(), []string{"start", "--dir", folder}))
	require.True(t, d.healthy(t.Context()))

	require.NoError(t, run(t.Context(), []string{"stop", "--dir", folder}))
	require.NoDirExists(t, folder)
	require.False(t, d.anyRunning())
}

func TestAPortThatSomebodyTookIsReplaced(t *testing.T) {
	c := requireBinaries(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for name, take := range map[string]func(*ports) *int{
		etcdName:      func(p *ports) *int { return &p.EtcdClient },
		apiServerName: func(p *ports) *int { return &p.APIServer },
	} {
		t.Run(name, func(t *testing.T) {
			tries := 0
			cp := controlPlane{dir: dir(t.TempDir()), cache: c, bound: true}
			cp.choosePorts = func() (ports, error) {
				p, err := freePorts()
				if tries++; tries == 1 {
					*take(&p) = taken.Addr().(*net.TCPAddr).Port
				}
				return p, err
			}
			require.NoError(t, cp.start(t.Context()))
			require.NoError(t, cp.end())
			require.Equal(t, 2, tries)
		})
	}
}

func TestRunPassesTheStatusAndTheKubeconfigOn(t *testing.T) {
	requireBinaries(t)
	note := filepath.Join(t.TempDir(), "note")
	t.Setenv("NOTE", note)
	t.Setenv("KUBECONFIG", "/mine")
	script := `test -r "$KWATCHMAN_TEST_KUBECONFIG" && test "$KUBECONFIG" = /mine && echo "$KWATCHMAN_TEST_KUBECONFIG" >"$NOTE"; exit 7`

	err := run(t.Context(), []string{"run", "--", "sh", "-c", script})
	require.Equal(t, 7, exitCode(err))
	kubeconfig := read(t, note)
	require.NotEmpty(t, kubeconfig)
	require.NoDirExists(t, filepath.Dir(kubeconfig), "nothing is left")
}

func TestAMistakeIsOneClearLine(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "which command? start, stop, restart, run, build (see cluster --help)"},
		{[]string{"begin"}, `unknown command "begin", known are start, stop, restart, run, build`},
		{[]string{"start", "--bad"}, "start: flag provided but not defined: -bad (see cluster start --help)"},
		{[]string{"stop", "now"}, `stop: unexpected argument "now" (see cluster stop --help)`},
		{[]string{"start", "--dir="}, "--dir is empty, it must name a folder"},
		{[]string{"run", "--"}, "run: no command given (see cluster run --help)"},
		{[]string{"run", "/no/such/command"}, "run: exec: \"/no/such/command\": stat /no/such/command: no such file or directory"},
		{[]string{"restart", "--dir", "/no/such"}, "restart: no cluster is running in /no/such"},
	} {
		require.EqualError(t, run(t.Context(), test.args), test.want)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content[:max(0, len(content)-1)])
}
