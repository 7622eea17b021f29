package client

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

// served are the resources of the real API server.
func served(t *testing.T) []Resource {
	t.Helper()
	kubeconfig := os.Getenv("KWATCHMAN_TEST_KUBECONFIG")
	if kubeconfig == "" {
		t.Skip("needs a Kubernetes API server: run it with make test, or set KWATCHMAN_TEST_KUBECONFIG")
	}
	c, err := Connect(kubeconfig, "test")
	require.NoError(t, err)
	resources, stale, err := c.Resources(context.Background())
	require.NoError(t, err)
	require.Empty(t, stale)
	return resources
}

func TestAResourceIsFoundByAnyOfItsNames(t *testing.T) {
	all := served(t)
	tests := []struct{ name, want string }{
		{"deploy", "apps/v1/deployments"},
		{"deployment", "apps/v1/deployments"},
		{"Deployment", "apps/v1/deployments"},
		{"deployments", "apps/v1/deployments"},
		{"deployments.apps", "apps/v1/deployments"},
		{"deployments.v1.apps", "apps/v1/deployments"},
		{"Deployment.apps", "apps/v1/deployments"},
		{"deploy.apps", "apps/v1/deployments"},
		{"svc", "/v1/services"},
		{"cm", "/v1/configmaps"},
		{"no", "/v1/nodes"},
		{"ing", "networking.k8s.io/v1/ingresses"},
		{"events", "/v1/events"},
		{"events.events.k8s.io", "events.k8s.io/v1/events"},
		{"hpa", "autoscaling/v2/horizontalpodautoscalers"},
		{"crd", "apiextensions.k8s.io/v1/customresourcedefinitions"},
		{"endpoints", "/v1/endpoints"},
		{"Role", "rbac.authorization.k8s.io/v1/roles"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := Resolve([]string{tt.name}, all, nil)
			require.NoError(t, err)
			require.Equal(t, tt.want, out[0].Group+"/"+out[0].Version+"/"+out[0].Resource)
		})
	}
	out, err := Resolve([]string{"nodes", "deploy", "Deployment"}, all, nil)
	require.NoError(t, err)
	require.Len(t, out, 2, "named twice, watched once")
	require.False(t, out[0].Namespaced)
	require.True(t, out[1].Namespaced)
}

func TestAnUnknownResourceIsAnErrorWithTheNearestName(t *testing.T) {
	all := served(t)
	tests := []struct{ name, want string }{
		{"deploymnt", `unknown resource "deploymnt": did you mean deployment?`},
		{"secrts", `unknown resource "secrts": did you mean secrets?`},
		{"wombats", `unknown resource "wombats"`},
		{"pods/status", `unknown resource "pods/status"`},
		{"tokenreviews", `resource "tokenreviews" cannot be listed and watched`},
		{"", `unknown resource ""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Resolve([]string{tt.name}, all, nil)
			require.EqualError(t, err, tt.want)
		})
	}
	_, err := Resolve([]string{"wombats"}, all, []string{"metrics.k8s.io"})
	require.EqualError(t, err, `unknown resource "wombats" (the servers of these API groups do not answer: metrics.k8s.io)`)
}

// Servers before 1.26 answer with other documents; one of those groups is
// broken here.
func TestDiscoveryReadsTheDocumentsOfOldServersToo(t *testing.T) {
	documents := map[string]string{
		"/api":  `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis": `{"kind":"APIGroupList","groups":[{"name":"apps","versions":[{"groupVersion":"apps/v1","version":"v1"},{"groupVersion":"apps/v1beta1","version":"v1beta1"}]},{"name":"broken.example.com","versions":[{"groupVersion":"broken.example.com/v1","version":"v1"}]}]}`,
		"/api/v1": `{"kind":"APIResourceList","resources":[{"name":"pods","singularName":"pod","kind":"Pod","namespaced":true,"shortNames":["po"],"verbs":["list","watch"]},
			{"name":"pods/log","kind":"Pod","namespaced":true,"verbs":["get"]}]}`,
		"/apis/apps/v1":      `{"kind":"APIResourceList","resources":[{"name":"deployments","kind":"Deployment","namespaced":true,"shortNames":["deploy"],"verbs":["list","watch"]}]}`,
		"/apis/apps/v1beta1": `{"kind":"APIResourceList","resources":[{"name":"deployments","kind":"Deployment","namespaced":true,"verbs":["list","watch"]}]}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		document, ok := documents[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(document))
	}))
	defer server.Close()
	c, err := newClient(&rest.Config{Host: server.URL}, "test")
	require.NoError(t, err)
	all, stale, err := c.Resources(context.Background())
	require.NoError(t, err)
	require.Equal(t, []string{"broken.example.com"}, stale)
	require.Len(t, all, 2, "one a resource, no subresource")
	out, err := Resolve([]string{"po", "deploy"}, all, stale)
	require.NoError(t, err)
	require.Equal(t, "v1", out[1].Version)
	require.True(t, slices.Contains(out[1].Verbs, "watch"))
}

func TestTheClusterIsNamedByItsHostWhereKubeSystemCannotBeRead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	c, err := newClient(&rest.Config{Host: server.URL}, "test")
	require.NoError(t, err)
	var logs bytes.Buffer
	require.Equal(t, server.Listener.Addr().String(), c.ClusterName(context.Background(), slog.New(slog.NewTextHandler(&logs, nil))))
	require.Contains(t, logs.String(), "KW_CLUSTER_NAME")
}
