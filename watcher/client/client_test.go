package client

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

func connected(t *testing.T) *Client {
	t.Helper()
	kubeconfig := os.Getenv("KWATCHMAN_TEST_KUBECONFIG")
	if kubeconfig == "" {
		t.Skip("needs a Kubernetes API server: run it with make test, or set KWATCHMAN_TEST_KUBECONFIG")
	}
	c, err := Connect(kubeconfig, "test")
	require.NoError(t, err)
	return c
}

// served is what the test cluster serves.
func served(t *testing.T) *Discovery {
	t.Helper()
	d, err := connected(t).Discover(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, d.Stale)
	return d
}

func TestAResourceIsFoundByAnyOfItsNames(t *testing.T) {
	d := served(t)
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
		{"hpa.v1.autoscaling", "autoscaling/v1/horizontalpodautoscalers"},
		{"crd", "apiextensions.k8s.io/v1/customresourcedefinitions"},
		{"endpoints", "/v1/endpoints"},
		{"Role", "rbac.authorization.k8s.io/v1/roles"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := d.Find(tt.name)
			require.NotEmpty(t, found)
			require.Equal(t, tt.want, found[0].Group+"/"+found[0].Version+"/"+found[0].Resource)
		})
	}
}

func TestAnUnknownResourceIsAnErrorWithTheNearestNameOrMayComeLater(t *testing.T) {
	d := served(t)
	tests := []struct{ name, want, near string }{
		{"deploymnt", `unknown resource "deploymnt": did you mean deployment?`, ""},
		{"secrts", `unknown resource "secrts": did you mean secrets?`, ""},
		{"deploymnts.apps", `unknown resource "deploymnts.apps": did you mean deployments.apps?`, ""},
		{"wombats", `unknown resource "wombats": a custom resource that is to come later is named with its group, as crontabs.stable.example.com`, ""},
		{"wombats.apps", `unknown resource "wombats.apps": behind the dot stands its group, as in deployments.apps, or its version and group`, ""},
		{"wombats.v2.apps", `unknown resource "wombats.v2.apps": behind the dot stands its group, as in deployments.apps, or its version and group`, ""},
		{"deployments.v2.apps", `unknown resource "deployments.v2.apps": did you mean deployments.v1.apps?`, ""},
		{"*.apps", `unknown resource "*.apps": * alone stands for all`, ""},
		{"pods/status", `unknown resource "pods/status": subresources cannot be watched, name the resource`, ""},
		{"tokenreviews", `resource "tokenreviews" cannot be listed and watched`, ""},
		{"ingreses.networking.k8s.io", "", "ingresses.networking.k8s.io"},
		{"crontabs.v1.stable.example.com", "", ""},
		{"crontabs.stable.example.com", "", ""},
		{"ingresses.networking.k8s.ioo", "", "ingresses.networking.k8s.io"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Empty(t, d.Find(tt.name))
			near, err := d.Missing(tt.name)
			if tt.want != "" {
				require.EqualError(t, err, tt.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.near, near)
		})
	}
	d.Stale = []string{"metrics.k8s.io"}
	_, err := d.Missing("wombats.apps")
	require.EqualError(t, err, `unknown resource "wombats.apps": behind the dot stands its group, as in deployments.apps, or its version and group (the servers of these API groups do not answer: metrics.k8s.io)`)
}

func TestAllIsEverythingThatCanBeWatchedButWhatMachinesWrite(t *testing.T) {
	var names []string
	for _, r := range served(t).All() {
		names = append(names, r.GroupResource().String())
	}
	for _, want := range []string{
		"configmaps", "secrets", "deployments.apps", "clusterroles.rbac.authorization.k8s.io", "nodes", "namespaces",
		"customresourcedefinitions.apiextensions.k8s.io", "validatingwebhookconfigurations.admissionregistration.k8s.io",
	} {
		require.Contains(t, names, want)
	}
	for _, not := range []string{"events", "leases.coordination.k8s.io", "pods", "replicasets.apps", "endpointslices.discovery.k8s.io", "bindings", "tokenreviews.authentication.k8s.io"} {
		require.NotContains(t, names, not)
	}
	readme, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	for _, name := range MachineWritten() {
		require.Contains(t, string(readme), "`"+name+"`")
	}
}

func TestAnUnchangedDiscoveryIsNotReadAgain(t *testing.T) {
	c := connected(t)
	first, err := c.Discover(t.Context(), nil)
	require.NoError(t, err)
	require.NotEmpty(t, first.roots["/apis"].etag)
	require.WithinDuration(t, time.Now(), first.Time, time.Minute)
	marked := first.roots["/api"]
	marked.resources = marked.resources[:1]
	first.roots["/api"] = marked
	again, err := c.Discover(t.Context(), first)
	require.NoError(t, err)
	require.Less(t, len(again.Resources), len(first.Resources), "what was read before is taken")
}

func TestDiscoveryTellsWhetherAnythingChanged(t *testing.T) {
	const document = `{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","items":[]}`
	tag := "1"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write([]byte(document))
	}))
	defer server.Close()
	c, err := newClient(&rest.Config{Host: server.URL}, "test")
	require.NoError(t, err)
	var d *Discovery
	for _, step := range []struct {
		tag       string
		unchanged bool
	}{{"1", false}, {"1", true}, {"1", true}, {"2", false}, {"2", true}} {
		tag = step.tag
		d, err = c.Discover(t.Context(), d)
		require.NoError(t, err)
		require.Equal(t, step.unchanged, d.Unchanged)
	}
}

func TestAPermissionIsKnownBeforeItIsNeeded(t *testing.T) {
	c := connected(t)
	missing, err := c.MissingVerbs(t.Context(), []Place{
		{GroupResource: schema.GroupResource{Resource: "secrets"}},
		{GroupResource: schema.GroupResource{Group: "apps", Resource: "deployments"}, Namespace: "default"},
	})
	require.NoError(t, err)
	require.Equal(t, [][]string{nil, nil}, missing, "the administrator may do everything")
}

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
		w.Header().Set("Etag", "same")
		_, _ = w.Write([]byte(document))
	}))
	defer server.Close()
	c, err := newClient(&rest.Config{Host: server.URL}, "test")
	require.NoError(t, err)
	d, err := c.Discover(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"broken.example.com"}, d.Stale)
	require.Len(t, d.Resources, 3, "one a version, no subresource")
	require.Equal(t, "v1", d.Find("deploy")[0].Version)
	require.Equal(t, "v1beta1", d.Find("deployments.v1beta1.apps")[0].Version)
	documents["/apis/apps/v1"] = `{"kind":"APIResourceList","resources":[]}`
	d, err = c.Discover(t.Context(), d)
	require.NoError(t, err)
	require.False(t, d.Unchanged)
	require.Equal(t, "v1beta1", d.Find("deployments")[0].Version, "the tag of the list of groups says nothing about the groups")
}

func TestARefusalOfDiscoveryIsOneClearLine(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusUnauthorized: "the API server refuses the credentials (401 Unauthorized)",
		http.StatusForbidden:    "discovery is forbidden: no entry; bind the ClusterRole system:discovery",
		http.StatusBadGateway:   "does not say what it serves: ",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			if status == http.StatusForbidden {
				_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no entry","reason":"Forbidden","code":403}`))
			}
		}))
		c, err := newClient(&rest.Config{Host: server.URL}, "test")
		require.NoError(t, err)
		_, err = c.Discover(t.Context(), nil)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
		server.Close()
	}
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
