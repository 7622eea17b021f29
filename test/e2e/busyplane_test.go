package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

var (
	nodes = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	pods  = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
)

// newClusterWithControllers is a control plane of the test's own, with
// controller-manager: in the one that the tests share it would write into
// everybody's namespace.
func newClusterWithControllers(t *testing.T) *cluster {
	t.Helper()
	launcher := os.Getenv(launcherEnv)
	if launcher == "" {
		t.Skip("starts a control plane with controller-manager: run it with make test, or set " + launcherEnv)
	}
	// The command ends with its input, and that with the test, even a test that
	// is killed; the control plane ends with the command.
	cmd := exec.Command(launcher, "run", "--controller-manager", "--", "sh", "-c", `echo "$`+kubeconfigEnv+`"; exec cat`)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		require.NoError(t, cmd.Wait())
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, "the control plane does not start")
	return newClusterAt(t, strings.TrimSpace(line))
}

// patchAs applies a patch under the name of a field manager, to the status as
// controllers do, item by item.
func (c *cluster) patchAs(manager string, r schema.GroupVersionResource, name, patch string, subresources ...string) error {
	return c.patchIn(c.namespace, manager, r, name, patch, subresources...)
}

func (c *cluster) patchIn(namespace, manager string, r schema.GroupVersionResource, name, patch string, subresources ...string) error {
	kind := types.MergePatchType
	if len(subresources) > 0 && subresources[0] == "status" {
		kind = types.StrategicMergePatchType
	}
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		_, err := c.client.Resource(r).Namespace(namespace).Patch(context.Background(), name, kind, []byte(patch),
			metav1.PatchOptions{FieldManager: manager}, subresources...)
		return err
	})
	if err != nil {
		return fmt.Errorf("patch %s %s as %s: %w", r.Resource, name, manager, err)
	}
	return nil
}

// kubelet stands in for the scheduler and the one node: it binds each Pod of the
// test, reports it running and ready, or a Job's done, ends it when it is to go,
// and says that the node is well.
type kubelet struct {
	*cluster
	node  string
	beats int
	ended sync.WaitGroup
}

const heartbeat = 2 * time.Second // a node that says nothing for 50 seconds is tainted

// startKubelet registers the node and works until stop is called.
func (c *cluster) startKubelet() (stop func()) {
	c.t.Helper()
	k := &kubelet{cluster: c, node: "node-1"}
	c.createIn("", nodes, object("v1", "Node", k.node, nil))
	ctx, cancel := context.WithCancel(context.Background())
	k.ended.Go(func() { k.runPods(ctx) })
	k.ended.Go(func() { k.sayWell(ctx) })
	stop = func() {
		cancel()
		k.ended.Wait()
	}
	c.t.Cleanup(stop)
	return stop
}

func (k *kubelet) sayWell(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		if err := k.beat(); err != nil {
			k.t.Error(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// beat is one heartbeat of the node, each a second later than the one before.
func (k *kubelet) beat() error {
	k.beats++
	return k.patchIn("", "kubelet", nodes, k.node, fmt.Sprintf(
		`{"status":{"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady","lastHeartbeatTime":%q}]}}`,
		second(k.beats)), "status")
}

// second is a time n seconds into the busy hour.
func second(n int) string {
	return time.Date(2026, 11, 22, 9, 0, n, 0, time.UTC).Format(time.RFC3339)
}

func (k *kubelet) runPods(ctx context.Context) {
	for ctx.Err() == nil {
		w, err := k.client.Resource(pods).Namespace(k.namespace).Watch(ctx, metav1.ListOptions{})
		if err != nil {
			if ctx.Err() == nil {
				k.t.Errorf("kubelet: watch: %v", err)
			}
			return
		}
		for e := range w.ResultChan() {
			pod, ok := e.Object.(*unstructured.Unstructured)
			if !ok {
				continue
			}
			// Others write the Pod as well; what is to do is seen with the next event.
			if err := k.run(pod); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				k.t.Logf("kubelet: %v", err)
			}
		}
	}
}

// run does the next step of a Pod's life.
func (k *kubelet) run(pod *unstructured.Unstructured) error {
	name, all := pod.GetName(), k.client.Resource(pods).Namespace(k.namespace)
	node, _, _ := unstructured.NestedString(pod.Object, "spec", "nodeName")
	phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
	runsOnce, _, _ := unstructured.NestedString(pod.Object, "spec", "restartPolicy")
	switch {
	case pod.GetDeletionTimestamp() != nil:
		now := int64(0)
		return all.Delete(context.Background(), name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	case node == "":
		binding := object("v1", "Binding", name, map[string]any{"target": map[string]any{"kind": "Node", "name": k.node}})
		_, err := all.Create(context.Background(), binding, metav1.CreateOptions{FieldManager: "kube-scheduler"}, "binding")
		return err
	case runsOnce == "Never" && phase != "Succeeded":
		return k.patchAs("kubelet", pods, name, `{"status":{"phase":"Succeeded"}}`, "status")
	case runsOnce != "Never" && !podReady(pod):
		return k.patchAs("kubelet", pods, name, `{"status":{"phase":"Running","podIP":"10.1.0.1","podIPs":[{"ip":"10.1.0.1"}],
			"conditions":[{"type":"Ready","status":"True"},{"type":"ContainersReady","status":"True"}]}}`, "status")
	}
	return nil
}

func podReady(pod *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(pod.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Ready" {
			return m["status"] == "True"
		}
	}
	return false
}
