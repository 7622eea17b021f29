// Package images builds the images, and runs them as containers, with the Docker
// daemon that with-docker.sh finds or starts: make test-images.
package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

// patience is how long a test waits for what has to happen.
const patience = 60 * time.Second

const (
	registry = "kwatchman.test"
	version  = "v0.0.0-test"
	nonroot  = "65532"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// docker is the client, or the test is skipped.
func docker(t *testing.T) func(args ...string) string {
	t.Helper()
	path := os.Getenv("KWATCHMAN_TEST_DOCKER")
	if path == "" {
		t.Skip("needs Docker and the images: make test-images")
	}
	return func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		cmd := exec.Command(path, args...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		require.NoError(t, cmd.Run(), "docker %s: %s", strings.Join(args, " "), errs.String())
		return out.String()
	}
}

// functions are found as the Makefile finds them.
func functions(t *testing.T) (names []string) {
	t.Helper()
	found, err := filepath.Glob("../../functions/*/cmd/main.go")
	require.NoError(t, err)
	require.NotEmpty(t, found)
	for _, f := range found {
		names = append(names, filepath.Base(filepath.Dir(filepath.Dir(f))))
	}
	return names
}

func image(name string) string { return registry + "/" + name + ":" + version }

// limits are the most that an image may take, in bytes.
func limit(name string) int {
	switch name {
	case "kwatchman", "watcher":
		return 40e6
	case "filter":
		return 20e6
	}
	return 12e6
}

func TestImagesAreSmallLabelledAndNotRoot(t *testing.T) {
	run := docker(t)
	for _, name := range append(functions(t), "watcher", "kwatchman") {
		var found []struct {
			Size   int
			Config struct {
				User       string
				Labels     map[string]string
				Entrypoint []string
			}
		}
		require.NoError(t, json.Unmarshal([]byte(run("image", "inspect", image(name))), &found))
		got := found[0]
		t.Logf("%-14s %5.1f MB", name, float64(got.Size)/1e6)
		assert.Less(t, got.Size, limit(name), name)
		assert.Equal(t, nonroot+":"+nonroot, got.Config.User, name)
		assert.Equal(t, version, got.Config.Labels["org.opencontainers.image.version"], name)
		assert.Equal(t, "Apache-2.0", got.Config.Labels["org.opencontainers.image.licenses"], name)
		assert.Equal(t, "https://github.com/kwatchman/kwatchman", got.Config.Labels["org.opencontainers.image.source"], name)
		assert.Regexp(t, "^[0-9a-f]{40}$", got.Config.Labels["org.opencontainers.image.revision"], name)
		assert.Contains(t, got.Config.Labels["org.opencontainers.image.title"], name)
		assert.Len(t, got.Config.Entrypoint, 1)

		said := run("run", "--rm", "--network=none", "--read-only", image(name), "--version")
		assert.Equal(t, name+" "+version+"\n", said)
	}
}

// The image's binary is the one that make builds in another folder, with another
// cache, outside of any container.
func TestTwoBuildsGiveTheSameBinary(t *testing.T) {
	run := docker(t)
	dir := t.TempDir()
	for _, name := range append(functions(t), "watcher", "kwatchman") {
		inside := "/usr/local/bin/function"
		if name == "watcher" || name == "kwatchman" {
			inside = "/usr/local/bin/" + name
		}
		container := strings.TrimSpace(run("create", image(name)))
		copied := filepath.Join(dir, name)
		run("cp", container+":"+inside, copied)
		run("rm", container)
		assert.Equal(t, sum(t, filepath.Join("../../bin", name)), sum(t, copied), name)
	}
}

func sum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	h := sha256.New()
	_, err = io.Copy(h, f)
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

// container is one that runs as the manifests would have it run.
type container struct {
	t    *testing.T
	run  func(args ...string) string
	name string
}

func start(t *testing.T, run func(args ...string) string, image string, args ...string) *container {
	t.Helper()
	c := &container{t: t, run: run, name: fmt.Sprintf("kwatchman-test-%d", time.Now().UnixNano())}
	run(append(append([]string{
		"run", "--detach", "--name", c.name, "--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges",
	}, args...), image)...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s:\n%s", image, c.logs())
		}
		run("rm", "--force", c.name)
	})
	return c
}

func (c *container) logs() string {
	out, err := exec.Command(os.Getenv("KWATCHMAN_TEST_DOCKER"), "logs", c.name).CombinedOutput()
	require.NoError(c.t, err)
	return string(out)
}

func (c *container) await(text string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool { return strings.Contains(c.logs(), text) }, patience, 100*time.Millisecond, "no %q", text)
}

// awaitReady asks from inside, as a health check does.
func (c *container) awaitReady(program, port string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		return exec.Command(os.Getenv("KWATCHMAN_TEST_DOCKER"), "exec", c.name, "/usr/local/bin/"+program, "ready", "http://127.0.0.1:"+port).Run() == nil
	}, patience, 200*time.Millisecond, "not ready")
}

// isConfined looks at the process, not at what was asked for.
func (c *container) isConfined() {
	c.t.Helper()
	pid := strings.TrimSpace(c.run("inspect", "--format={{.State.Pid}}", c.name))
	look := []string{"cat", "/proc/" + pid + "/status"}
	if daemon := os.Getenv("KWATCHMAN_TEST_DOCKERD"); daemon != "" { // whose processes have a namespace of their own
		look = append([]string{"nsenter", "--target", daemon, "--mount", "--pid"}, look...)
	}
	status, err := exec.Command(look[0], look[1:]...).CombinedOutput()
	require.NoError(c.t, err, string(status))
	assert.Contains(c.t, string(status), "Uid:\t"+strings.Repeat(nonroot+"\t", 3)+nonroot+"\n")
	assert.Contains(c.t, string(status), "CapEff:\t0000000000000000\n")
	assert.Contains(c.t, string(status), "NoNewPrivs:\t1\n")

	out, err := exec.Command(os.Getenv("KWATCHMAN_TEST_DOCKER"), "cp", "images_test.go", c.name+":/usr/local/bin/").CombinedOutput()
	require.Error(c.t, err)
	assert.Contains(c.t, string(out), "read-only")
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// readableKubeconfig is one that uid 65532 may read, in a folder to mount.
func readableKubeconfig(t *testing.T) (dir string, client dynamic.Interface) {
	t.Helper()
	path := os.Getenv("KWATCHMAN_TEST_KUBECONFIG")
	require.NotEmpty(t, path, "make test-images starts an API server")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kubeconfig"), text, 0o600))
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chmod(filepath.Join(dir, "kubeconfig"), 0o644))
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	require.NoError(t, err)
	client, err = dynamic.NewForConfig(cfg)
	require.NoError(t, err)
	return dir, client
}

func change(t *testing.T, client dynamic.Interface, name, value string) {
	t.Helper()
	_, err := client.Resource(configMaps).Namespace("default").Apply(context.Background(), name, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}, "data": map[string]any{"colour": value},
	}}, metav1.ApplyOptions{FieldManager: "painter"})
	require.NoError(t, err)
}

func TestTheChainWorksBetweenContainers(t *testing.T) {
	run := docker(t)
	dir, client := readableKubeconfig(t)
	change(t, client, "walls", "white")

	diffPort, logPort, metricsPort := freePort(t), freePort(t), freePort(t)
	diff := start(t, run, image("diff"), "--env=PORT="+diffPort)
	log := start(t, run, image("log"), "--env=PORT="+logPort, "--env=LOG_FORMAT=text")
	watcher := start(t, run, image("watcher"), "--volume="+dir+":/etc/kwatchman:ro", "--env=KW_KUBECONFIG=/etc/kwatchman/kubeconfig",
		"--env=KW_RESOURCES=configmaps", "--env=KW_NAMESPACE=default", "--env=KW_METRICS_ADDR=127.0.0.1:"+metricsPort,
		"--env=KW_HANDLERS=http://localhost:"+diffPort+",http://localhost:"+logPort)
	watcher.awaitReady("watcher", metricsPort)

	change(t, client, "walls", "blue")
	log.await("+  colour: blue")
	text := log.logs()
	assert.Contains(t, text, "-  colour: white")
	assert.Contains(t, text, "painter")
	for _, c := range []*container{diff, log, watcher} {
		c.isConfined()
	}
	// A container that is told to stop ends by itself, with 0.
	for _, c := range []*container{watcher, diff, log} {
		run("stop", "--time=20", c.name)
		assert.Equal(t, "0", strings.TrimSpace(run("inspect", "--format={{.State.ExitCode}}", c.name)), c.logs())
	}
}

func TestTheAllInOneWorksAsAContainer(t *testing.T) {
	run := docker(t)
	dir, client := readableKubeconfig(t)
	change(t, client, "doors", "brown")
	port := freePort(t)
	all := start(t, run, image("kwatchman"), "--volume="+dir+":/etc/kwatchman:ro", "--env=KW_KUBECONFIG=/etc/kwatchman/kubeconfig",
		"--env=KW_RESOURCES=configmaps", "--env=KW_METRICS_ADDR=127.0.0.1:"+port, "--env=LOG_FORMAT=text",
		"--tmpfs=/var/lib/kwatchman:uid="+nonroot+",mode=0700", "--env=KW_STATE_DIR=/var/lib/kwatchman")
	all.awaitReady("kwatchman", port)
	change(t, client, "doors", "green")
	all.await("+  colour: green")
	all.isConfined()
}
