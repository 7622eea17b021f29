package model

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const group = "model.kwatchman.dev"

var (
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	widgets    = schema.GroupVersionResource{Group: group, Version: "v1", Resource: "widgets"}
	namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	leases     = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	crds       = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// plane is the control plane: the API server, which may be ended and started, and
// etcd, which may be compacted.
type plane struct {
	dir, kubeconfig string
	config          *rest.Config
	client          dynamic.Interface
	etcd            string // its URL
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{kubeconfig: os.Getenv(kubeconfigEnv)}
	p.dir = filepath.Dir(p.kubeconfig)
	var err error
	p.config, err = clientcmd.BuildConfigFromFlags("", p.kubeconfig)
	require.NoError(t, err)
	p.config.QPS, p.config.Timeout = -1, 5*time.Second
	p.client, err = dynamic.NewForConfig(p.config)
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(p.dir, "ports.json"))
	require.NoError(t, err)
	var ports struct{ EtcdClient int }
	require.NoError(t, json.Unmarshal(text, &ports))
	p.etcd = fmt.Sprintf("http://127.0.0.1:%d", ports.EtcdClient)
	p.define(t)
	return p
}

// define has the API server serve widgets.
func (p *plane) define(t *testing.T) {
	t.Helper()
	crd := manifest("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets."+group, map[string]any{"spec": map[string]any{
		"group": group, "scope": "Namespaced",
		"names": map[string]any{"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
		"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
			"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
		}}},
	}})
	_, err := p.client.Resource(crds).Create(t.Context(), crd, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		_, err := p.client.Resource(widgets).List(t.Context(), metav1.ListOptions{Limit: 1})
		return err == nil
	}, time.Minute, 100*time.Millisecond, "widgets are served")
}

// ask posts to etcd's gateway.
func (p *plane) ask(ctx context.Context, path, body string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.etcd+path, bytes.NewBufferString(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("etcd answers %s: %s", resp.Status, text)
	}
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(text, out)
}

// revision is etcd's newest.
func (p *plane) revision(ctx context.Context) (int64, error) {
	var now struct {
		Header struct {
			Revision int64 `json:"revision,string"`
		}
	}
	err := p.ask(ctx, "/v3/kv/range", `{"key":"AA==","limit":"1"}`, &now)
	return now.Header.Revision, err
}

// compact has etcd forget all before its newest state.
func (p *plane) compact(ctx context.Context) error {
	now, err := p.revision(ctx)
	if err != nil {
		return err
	}
	return p.ask(ctx, "/v3/kv/compaction", fmt.Sprintf(`{"revision":"%d","physical":true}`, now), nil)
}

// kill ends the API server at once.
func (p *plane) kill() error {
	text, err := os.ReadFile(filepath.Join(p.dir, "kube-apiserver.pid"))
	if err != nil {
		return err
	}
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return errors.New("kube-apiserver.pid is empty")
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// start starts it with the same data and waits until it is ready.
func (p *plane) start() error {
	out, err := exec.Command(os.Getenv(launcherEnv), "restart", "--dir", p.dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("restart the API server: %w: %s", err, out)
	}
	return nil
}
