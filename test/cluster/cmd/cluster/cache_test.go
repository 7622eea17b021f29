package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A binary of other versions, sources, Go or flags is never taken for the wanted one.
func TestCacheKeyChangesWithEverythingThatIsBuilt(t *testing.T) {
	source := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(source, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	key := func(settings ...string) string {
		k, err := cacheKey(source, servers(), settings)
		require.NoError(t, err)
		return k
	}
	write("go.mod", "module x")
	write("go.sum", "sums")
	write("cmd/controlplane/main.go", "package main")
	write("cmd/controller-manager/main.go", "package main")
	seen := map[string]string{key("go1"): "the first"}
	require.Contains(t, seen, key("go1"), "nothing changed")

	changes := []struct{ name, content string }{
		{"go.mod", "module y"},
		{"go.sum", "other sums"},
		{"cmd/controlplane/main.go", "package main // changed"},
		{"cmd/controlplane/more.go", "package main"},
		{"cmd/controller-manager/main.go", "package main // changed"},
	}
	for _, change := range changes {
		write(change.name, change.content)
		require.NotContains(t, seen, key("go1"), change.name)
		seen[key("go1")] = change.name
	}
	require.NotContains(t, seen, key("go2"))
	require.NotEqual(t, key("a", "b"), key("a b"))

	before := key("go1")
	write("cmd/cluster/main.go", "package main")
	write("kubectl/main.go", "package main")
	require.Equal(t, before, key("go1"), "the launcher and kubectl are no part of the servers")
}

func TestKubectlIsOfTheVersionOfTheServers(t *testing.T) {
	source, err := findSource()
	require.NoError(t, err)
	_, _, minor, err := kubernetesVersion([]byte(read(t, filepath.Join(source, "go.mod"))))
	require.NoError(t, err)
	require.Contains(t, read(t, filepath.Join(source, "kubectl", "go.mod")), "k8s.io/kubectl v0."+minor+".")
}

func TestKubernetesVersionIsTheOneOfTheModule(t *testing.T) {
	version, major, minor, err := kubernetesVersion([]byte("require (\n\tk8s.io/api v0.1.0\n\tk8s.io/kubernetes v1.37.2\n)\n"))
	require.NoError(t, err)
	require.Equal(t, []string{"v1.37.2", "1", "37"}, []string{version, major, minor})

	_, _, _, err = kubernetesVersion([]byte("module x\n"))
	require.ErrorContains(t, err, "does not require k8s.io/kubernetes")
}

func TestCacheFolderCanBeChosen(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("KWATCHMAN_CLUSTER_CACHE", "")
	root := func() string {
		dir, err := cacheRoot()
		require.NoError(t, err)
		return dir
	}
	require.Equal(t, "/home/me/.cache/kwatchman/cluster", root())
	t.Setenv("XDG_CACHE_HOME", "/xdg")
	require.Equal(t, "/xdg/kwatchman/cluster", root())
	t.Setenv("KWATCHMAN_CLUSTER_CACHE", "/mine")
	require.Equal(t, "/mine", root())
}

// The first build waits here for nobody, the second one for the first, and a
// holder that removes the file does not leave two holders.
func TestLockHasOneHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path, "")
	require.NoError(t, err)
	_, err = tryLock(path)
	require.Error(t, err)

	second := make(chan error)
	go func() {
		unlock, err := lock(t.Context(), path, "")
		if err == nil {
			defer unlock()
			_, err = os.Stat(path)
		}
		second <- err
	}()
	require.NoError(t, os.Remove(path))
	unlock()
	require.NoError(t, <-second, "the lock is on the file that others see")
}
