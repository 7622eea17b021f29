// Package node installs the chart with helm on a real node, as Pods, and breaks
// them while objects change: make test-node.
package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	patience = 2 * time.Minute
	// nodeIP is the node's address, which Pods reach; the tests run on the node.
	nodeIP = "192.168.99.1"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// node is the cluster, and what this test has in it.
type node struct {
	t          *testing.T
	kubeconfig string
	client     dynamic.Interface
	namespace  string // of the release
	mode       string
	sink       *sink
}

func (n *node) command(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+n.kubeconfig)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, errs.String())
	}
	return out.String(), err
}

func (n *node) kubectl(args ...string) string {
	n.t.Helper()
	out, err := n.command(os.Getenv("KWATCHMAN_TEST_KUBECTL"), args...)
	require.NoError(n.t, err)
	return out
}

func (n *node) helm(args ...string) string {
	n.t.Helper()
	out, err := n.command(os.Getenv("KWATCHMAN_TEST_HELM"), append(args, "--namespace", n.namespace)...)
	require.NoError(n.t, err)
	return out
}

// sink is the last step of the chain. It notes what arrives, and lets it go on.
type sink struct {
	mu      sync.Mutex
	arrived map[string]int // by id
	order   map[string][]string
	longest time.Duration // between two arrivals, since watch was called
	last    time.Time
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.arrived[r.Header.Get("Ce-Id")]++; s.arrived[r.Header.Get("Ce-Id")] == 1 {
		s.order[r.Header.Get("Ce-Subject")] = append(s.order[r.Header.Get("Ce-Subject")], r.Header.Get("Ce-Id"))
	}
	if !s.last.IsZero() {
		s.longest = max(s.longest, time.Since(s.last))
	}
	s.last = time.Now()
	w.WriteHeader(http.StatusNoContent)
}

func (s *sink) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.longest, s.last = 0, time.Time{}
}

// start installs the release and makes what it needs.
func start(t *testing.T, mode string) *node {
	t.Helper()
	n := &node{t: t, kubeconfig: os.Getenv("KWATCHMAN_TEST_KUBECONFIG"), namespace: "kwatchman-" + mode, mode: mode}
	images := os.Getenv("KWATCHMAN_TEST_IMAGES")
	if images == "" || os.Getenv("KWATCHMAN_TEST_CTR") == "" {
		t.Skip("needs a node and images: make test-node")
	}
	ctr := strings.Fields(os.Getenv("KWATCHMAN_TEST_CTR"))
	_, err := n.command(ctr[0], append(ctr[1:], "images", "import", images)...)
	require.NoError(t, err)
	cfg, err := clientcmd.BuildConfigFromFlags("", n.kubeconfig)
	require.NoError(t, err)
	cfg.QPS, cfg.WarningHandler = -1, rest.NoWarnings{}
	n.client, err = dynamic.NewForConfig(cfg)
	require.NoError(t, err)

	n.sink = &sink{arrived: map[string]int{}, order: map[string][]string{}}
	l, err := net.Listen("tcp", nodeIP+":0")
	require.NoError(t, err)
	server := &http.Server{Handler: n.sink, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-served })

	// A volume, as a provisioner would make it.
	disk := t.TempDir()
	require.NoError(t, os.Chmod(disk, 0o777)) // the kubelet does not give a hostPath to the Pod's user
	n.kubectl("create", "namespace", n.namespace)
	n.kubectl("label", "namespace", n.namespace, "pod-security.kubernetes.io/enforce=restricted")
	n.kubectl("create", "namespace", "shop-"+mode)
	n.apply(fmt.Sprintf(`{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":%q},"spec":{"capacity":{"storage":"1Gi"},
		"accessModes":["ReadWriteOnce"],"claimRef":{"namespace":%[2]q,"name":"kwatchman"},"hostPath":{"path":%q}}}`, n.namespace, n.namespace, disk))

	began := time.Now()
	n.helm(append([]string{"install", "kwatchman", "../../deploy/helm/kwatchman", "--wait", "--timeout", "2m"}, n.values(l.Addr().String())...)...)
	t.Logf("%s: helm install --wait: %s", mode, time.Since(began).Round(100*time.Millisecond))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(n.kubectl("get", "pods,events", "-A", "-o", "wide"))
			t.Log(n.kubectl("-n", n.namespace, "logs", "deploy/kwatchman", "-c", "watcher", "--tail=50"))
		}
		n.helm("uninstall", "kwatchman", "--wait")
	})
	return n
}

// apply is kubectl apply of what stdin would hold.
func (n *node) apply(manifest string) {
	n.t.Helper()
	file := filepath.Join(n.t.TempDir(), "manifest.json")
	require.NoError(n.t, os.WriteFile(file, []byte(manifest), 0o600))
	n.kubectl("apply", "-f", file)
}

func (n *node) values(sink string) []string {
	// One mode has a volume, the other nothing but the Lease.
	state := map[string]string{"sidecar": "volume", "services": "emptyDir"}[n.mode]
	return []string{
		"--set", "mode=" + n.mode, "--set", "image.registry=kwatchman.test", "--set", "image.tag=v0.0.0-test", "--set", "image.pullPolicy=Never",
		"--set", "resources={configmaps}", "--set", "namespaces={shop-" + n.mode + "}", "--set", "chain={diff,log,http://" + sink + "/}",
		"--set", "state.type=" + state, "--set", "state.size=1Gi", "--set", "functions.log.settings.format=text",
	}
}

// changes writes to objects until it is stopped, and returns what each write was.
type changes struct {
	n       *node
	cancel  context.CancelFunc
	done    chan struct{}
	mu      sync.Mutex
	ids     []string
	subject map[string][]string
}

func (n *node) change(objects int) *changes {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &changes{n: n, cancel: cancel, done: make(chan struct{}), subject: map[string][]string{}}
	go func() {
		defer close(c.done)
		for i := 0; ctx.Err() == nil; i++ {
			name := fmt.Sprintf("object-%d", i%objects)
			o, err := n.client.Resource(configMaps).Namespace("shop-"+n.mode).Apply(ctx, name, &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}, "data": map[string]any{"write": fmt.Sprint(i)},
			}}, metav1.ApplyOptions{FieldManager: "writer", Force: true})
			if err == nil {
				action := "update"
				if i < objects && o.GetGeneration() == 0 && len(c.subject[name]) == 0 {
					action = "add"
				}
				c.note(name, string(o.GetUID())+"."+o.GetResourceVersion()+"."+action)
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	n.t.Cleanup(c.stop)
	return c
}

func (c *changes) note(name, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids = append(c.ids, id)
	c.subject[name] = append(c.subject[name], id)
}

func (c *changes) stop() { c.cancel(); <-c.done }

// missing are the changes that have not arrived, whatever their action: an object
// of an earlier round is updated in a later one.
func (c *changes) missing() (out []string) {
	c.n.sink.mu.Lock()
	defer c.n.sink.mu.Unlock()
	arrived := map[string]bool{}
	for id := range c.n.sink.arrived {
		arrived[withoutAction(id)] = true
	}
	for _, id := range c.ids {
		if !arrived[withoutAction(id)] {
			out = append(out, id)
		}
	}
	return out
}

func withoutAction(id string) string { return id[:strings.LastIndex(id, ".")] }

// judge stops the writes, waits for what is on its way, and says what came of it.
func (c *changes) judge(what string) {
	c.n.t.Helper()
	c.stop()
	require.Eventually(c.n.t, func() bool { return len(c.missing()) == 0 }, patience, 200*time.Millisecond, "%s: some never arrive: %d of %d", what, len(c.missing()), len(c.ids))
	c.n.sink.mu.Lock()
	defer c.n.sink.mu.Unlock()
	again := 0
	for _, id := range c.ids {
		for _, action := range []string{"add", "update"} {
			again += max(0, c.n.sink.arrived[withoutAction(id)+"."+action]-1)
		}
	}
	for subject, ids := range c.n.sink.order {
		assert.True(c.n.t, slices.IsSortedFunc(ids, func(a, b string) int { return cmp.Compare(version(a), version(b)) }), "%s: %s is out of order", what, subject)
	}
	c.n.t.Logf("RESULT %-8s %-42s %5d changes, 0 lost, in order, %d twice, longest silence %s",
		c.n.mode, what, len(c.ids), again, c.n.sink.longest.Round(100*time.Millisecond))
}

func version(id string) (v int) {
	_, _ = fmt.Sscan(strings.Split(id, ".")[1], &v)
	return v
}

// pod is the name of the release's Pod of a component.
func (n *node) pod(component string) string {
	n.t.Helper()
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct{ Phase string }
		}
	}
	require.NoError(n.t, json.Unmarshal([]byte(n.kubectl("-n", n.namespace, "get", "pods", "-l", "app.kubernetes.io/component="+component, "-o", "json")), &list))
	require.NotEmpty(n.t, list.Items, component)
	return list.Items[0].Metadata.Name
}

// ready waits until the Deployments of the release are.
func (n *node) ready() {
	n.t.Helper()
	for _, d := range strings.Fields(n.kubectl("-n", n.namespace, "get", "deployments", "-o", "name")) {
		n.kubectl("-n", n.namespace, "rollout", "status", d, "--timeout=120s")
	}
}

// hasToken looks into the containers of a program for a token of the API.
func (n *node) hasToken(program string) (out []bool) {
	n.t.Helper()
	pids, err := n.command("pgrep", "-f", "^/usr/local/bin/"+program)
	require.NoError(n.t, err)
	for _, pid := range strings.Fields(pids) {
		_, err := os.Stat("/proc/" + pid + "/root/var/run/secrets/kubernetes.io/serviceaccount/token")
		out = append(out, err == nil)
	}
	return out
}

func TestOnARealNode(t *testing.T) {
	for _, mode := range []string{"sidecar", "services"} {
		t.Run(mode, func(t *testing.T) {
			n := start(t, mode)
			t.Log("\n" + n.kubectl("-n", n.namespace, "get", "pods", "-o", "wide"))
			n.helm("test", "kwatchman")

			// What a user does and sees.
			n.kubectl("-n", "shop-"+mode, "create", "configmap", "prices", "--from-literal=apple=1")
			n.kubectl("-n", "shop-"+mode, "patch", "configmap", "prices", "--type=merge", "-p", `{"data":{"apple":"2"}}`)
			logs := []string{"-n", n.namespace, "logs", "deploy/kwatchman", "-c", "log"}
			if mode == "services" {
				logs = []string{"-n", n.namespace, "logs", "deploy/kwatchman-log"}
			}
			require.Eventually(t, func() bool { return strings.Contains(n.kubectl(logs...), "+  apple: \"2\"") }, patience, 200*time.Millisecond)
			t.Log("\n" + n.kubectl(append(logs, "--tail=14")...))
			assert.Contains(t, n.kubectl(logs...), "by kubectl-patch")
			// The watcher finds all in order where it runs, and it alone has the token of the API.
			checked := n.kubectl("-n", n.namespace, "exec", n.pod("watcher"), "-c", "watcher", "--", "/usr/local/bin/watcher", "check")
			assert.NotContains(t, checked, "PROBLEM")
			assert.Equal(t, []bool{true}, n.hasToken("watcher"))
			assert.Equal(t, []bool{false, false}, n.hasToken("function"), "diff and log")

			for _, b := range []struct {
				what string
				do   func()
			}{
				{"the watcher killed (-9), container restarts", func() {
					_, err := n.command("pkill", "-9", "-f", "^/usr/local/bin/watcher")
					require.NoError(t, err)
				}},
				{"the watcher's Pod deleted", func() { n.kubectl("-n", n.namespace, "delete", "pod", n.pod("watcher")) }},
				{"the watcher's Pod killed, no grace", func() {
					n.kubectl("-n", n.namespace, "delete", "pod", n.pod("watcher"), "--grace-period=0", "--force")
				}},
				{"diff and log killed (-9)", func() {
					_, err := n.command("pkill", "-9", "-f", "^/usr/local/bin/function")
					require.NoError(t, err)
				}},
				{"helm upgrade to another image", func() {
					n.helm("upgrade", "kwatchman", "../../deploy/helm/kwatchman", "--reuse-values", "--set", "image.tag=v0.0.1-test", "--wait", "--timeout", "2m")
				}},
				{"helm rollback", func() { n.helm("rollback", "kwatchman", "--wait", "--timeout", "2m") }},
			} {
				n.sink.watch()
				c := n.change(20)
				time.Sleep(2 * time.Second) // some changes before
				b.do()
				n.ready()
				time.Sleep(2 * time.Second) // and some after
				c.judge(b.what)
			}
			image := strings.TrimSpace(n.kubectl("-n", n.namespace, "get", "pod", n.pod("watcher"), "-o", "jsonpath={.spec.containers[0].image}"))
			assert.Equal(t, "kwatchman.test/watcher:v0.0.0-test", image)
		})
	}
}
