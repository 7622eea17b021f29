// Command bench-informer is what the bench compares kwatchman with: what a
// person would write in fifty lines. A plain client-go informer keeps the
// objects and posts each update, old and new, as JSON. With RELAY set it is
// what nobody would use: see relay.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	work := run
	if os.Getenv("RELAY") != "" {
		work = relay
	}
	if err := work(ctx, os.Getenv("KUBECONFIG"), os.Getenv("SINK")); err != nil {
		fmt.Fprintf(os.Stderr, "bench-informer: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, sink string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	informer := newInformer(client, schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"})
	// The handlers are called one after the other, out of a queue of the informer.
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(before, after any) {
			if before.(metav1.Object).GetResourceVersion() == after.(metav1.Object).GetResourceVersion() {
				return // a relist, and nothing has changed
			}
			if err := post(ctx, sink, before, after); err != nil {
				slog.Error("a change was not sent", "error", err)
			}
		},
	})
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		informer.RunWithContext(ctx)
	}()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return errors.New("not synced")
	}
	slog.Info("ready")
	<-ended
	return nil
}

// newInformer is what dynamicinformer makes, for all namespaces; that package
// itself would bring seventeen more modules into go.mod.
func newInformer(client *dynamic.DynamicClient, resource schema.GroupVersionResource) cache.SharedIndexInformer {
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.Resource(resource).List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.Resource(resource).Watch(ctx, options)
		},
	}
	return cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(lw, client), &unstructured.Unstructured{}, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
}

func post(ctx context.Context, sink string, before, after any) error {
	body, err := json.Marshal(map[string]any{"old": before, "new": after})
	if err != nil {
		return err
	}
	return send(ctx, sink, body)
}

func send(ctx context.Context, sink string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sink, bytes.NewReader(body)) //nolint:gosec // the sink that it was given
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // see above
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}
