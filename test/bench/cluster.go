package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// deployments is the path that the recorded server answers itself.
const deployments = "/apis/apps/v1/deployments"

const (
	mergePatch = "application/merge-patch+json"
	jsonPatch  = "application/json-patch+json"
	// metadataOnly spares the API server and us the rest of the answer.
	metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
	clients      = 32
)

// cluster is the real API server. Nothing limits how much is asked of it.
type cluster struct {
	host   string
	client *http.Client
	rest   *rest.Config
}

func connect(kubeconfig string) (*cluster, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	if u, err := url.Parse(cfg.Host); err != nil || u.Scheme != "https" {
		return nil, fmt.Errorf("kubeconfig: %s is no https URL", cfg.Host)
	}
	return &cluster{host: strings.TrimSuffix(cfg.Host, "/"), client: client, rest: cfg}, nil
}

// open starts a request; the caller closes the body.
func (c *cluster) open(ctx context.Context, method, path, contentType string, body []byte) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.host+path, strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Accept", metadataOnly)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the API server cannot be reached: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		defer func() { _ = resp.Body.Close() }()
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return nil, fmt.Errorf("%s %s: answered %d: %s", method, path, resp.StatusCode, said)
	}
	return resp.Body, nil
}

// do sends a request and gives the resourceVersion of what it answers.
func (c *cluster) do(ctx context.Context, method, path, contentType string, body []byte) (version string, err error) {
	r, err := c.open(ctx, method, path, contentType, body)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	var answer struct {
		Metadata struct{ ResourceVersion string }
		Items    []json.RawMessage
	}
	if err := json.NewDecoder(r).Decode(&answer); err != nil {
		return "", fmt.Errorf("%s %s: %w", method, path, err)
	}
	if len(answer.Items) > 0 {
		return "", errNotEmpty
	}
	return answer.Metadata.ResourceVersion, nil
}

var errNotEmpty = errors.New("the cluster has Deployments already: give the bench a fresh one, with bin/cluster run -- bin/bench")

// gitVersion is the version of the API server.
func (c *cluster) gitVersion(ctx context.Context) (string, error) {
	r, err := c.open(ctx, http.MethodGet, "/version", "", nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	var v struct{ GitVersion string }
	err = json.NewDecoder(r).Decode(&v)
	return v.GitVersion, err
}

// load fills the cluster with n Deployments.
func (c *cluster) load(ctx context.Context, n int) error {
	if _, err := c.do(ctx, http.MethodGet, deployments+"?limit=1", "", nil); err != nil {
		return err
	}
	for i := range min(namespaces, n) {
		body := fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, objectNamespace(i))
		if _, err := c.do(ctx, http.MethodPost, "/api/v1/namespaces", "application/json", []byte(body)); err != nil {
			return err
		}
	}
	progress := newProgress("Deployments created", n)
	return parallel(ctx, clients, n, func(ctx context.Context, i int) error {
		defer progress.step()
		g := newGenerator(i)
		manifest, err := g.manifest()
		if err != nil {
			return err
		}
		collection := strings.TrimSuffix(objectPath(i), "/"+objectName(i))
		if _, err := c.do(ctx, http.MethodPost, collection+"?fieldManager=helm", "application/json", manifest); err != nil {
			return err
		}
		status, err := g.status()
		if err != nil {
			return err
		}
		_, err = c.do(ctx, http.MethodPatch, objectPath(i)+"/status?fieldManager=kube-controller-manager", mergePatch, status)
		return err
	})
}

// parallel calls do for each number below n, by so many workers, until one
// fails.
func parallel(ctx context.Context, workers, n int, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	done := make(chan struct{})
	for range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := next.Add(1) - 1; i < int64(n) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := do(ctx, int(i)); err != nil {
					cancel(err)
				}
			}
		}()
	}
	for range workers {
		<-done
	}
	return context.Cause(ctx)
}

// sleep waits; an error means that ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
