// Package client connects to the API server and asks it for what the
// configuration leaves open: the served resources and the cluster's identity.
package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Client is a connection to one API server.
type Client struct {
	// REST sends requests to absolute paths.
	REST *rest.RESTClient
	// Namespace is that of the kubeconfig's context or of the Pod.
	Namespace string
	host      string
}

// askTimeout bounds each question at the start.
const askTimeout = 15 * time.Second

// Connect reads the connection's settings: the file kubeconfig if it is named,
// else what KUBECONFIG or ~/.kube/config say, else the service account that a
// Pod has. No request is sent yet.
func Connect(kubeconfig, userAgent string) (*Client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	rules.WarnIfAllMissing = false
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{})
	cfg, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		if raw, loadErr := rules.Load(); loadErr == nil && raw.CurrentContext == "" && len(raw.Contexts) > 0 {
			return nil, errors.New("kubeconfig: it has no current context: choose one with kubectl config use-context")
		}
	}
	if path := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); path != "" && kubeconfig == "" && clientcmd.IsEmptyConfig(err) {
		return nil, fmt.Errorf("KUBECONFIG: no cluster in %s: does the file exist?", path)
	}
	if kubeconfig != "" && clientcmd.IsEmptyConfig(err) {
		return nil, fmt.Errorf("kubeconfig: no cluster in %s", kubeconfig)
	}
	if clientcmd.IsEmptyConfig(err) || errors.Is(err, rest.ErrNotInCluster) {
		return nil, errors.New("no cluster to watch: set KW_KUBECONFIG or KUBECONFIG, or run in a Pod with a service account")
	}
	if err != nil && (strings.Contains(err.Error(), "couldn't get version/kind") || strings.Contains(err.Error(), "Unmarshal")) {
		return nil, fmt.Errorf("kubeconfig: %s is no kubeconfig", cmp.Or(kubeconfig, os.Getenv(clientcmd.RecommendedConfigPathEnvVar), "~/.kube/config"))
	}
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	c, err := newClient(cfg, userAgent)
	if err != nil {
		return nil, err
	}
	if c.Namespace, _, err = loader.Namespace(); err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return c, nil
}

// Host is the API server's, without scheme and path.
func (c *Client) Host() string {
	if u, err := url.Parse(c.host); err == nil && u.Host != "" {
		return u.Host
	}
	return c.host
}

func newClient(cfg *rest.Config, userAgent string) (*Client, error) {
	scheme := runtime.NewScheme()
	v1 := schema.GroupVersion{Version: "v1"}
	metav1.AddToGroupVersion(scheme, v1)
	cfg = rest.CopyConfig(cfg)
	cfg.GroupVersion = &v1
	cfg.APIPath = "/"
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	cfg.ContentType = runtime.ContentTypeJSON
	cfg.UserAgent = userAgent
	cfg.QPS = -1 // a watcher asks seldom; nothing may wait behind a rate limit
	// A watch is small pieces, and to unpack each costs more than to send it; an
	// API server is spared the packing, too.
	cfg.DisableCompression = true
	cfg.WarningHandlerWithContext = rest.NoWarnings{}
	boundReceiving(cfg)
	client, err := rest.RESTClientFor(cfg)
	if err != nil && strings.Contains(err.Error(), "host must be a URL") { // which it shows
		return nil, errors.New("kubeconfig: the server of the cluster is no URL: want https://host:port")
	}
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return &Client{REST: client, host: cfg.Host}, nil
}

// ClusterName is the UID of namespace kube-system, if it may be read, else the
// API server's host with a warning.
func (c *Client) ClusterName(ctx context.Context, log *slog.Logger) string {
	if uid := c.ClusterUID(ctx); uid != "" {
		return uid
	}
	log.Warn("namespace kube-system cannot be read, so the API server's host names the cluster: set KW_CLUSTER_NAME",
		"cluster", c.Host())
	return c.Host()
}

// ClusterUID is the UID of namespace kube-system, empty if it may not be read.
func (c *Client) ClusterUID(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var ns metav1.PartialObjectMetadata
	if err := c.get(ctx, "/api/v1/namespaces/kube-system", "application/json", &ns); err != nil {
		return ""
	}
	return string(ns.UID)
}
