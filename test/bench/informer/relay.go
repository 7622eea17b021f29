package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// relay is the least that a Go program can do: it posts each line of the watch
// as it comes. It keeps no object, compares nothing and forgets what fails, and
// so shows how much of the time belongs to Go, TLS and HTTP.
func relay(ctx context.Context, kubeconfig, sink string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	cfg.GroupVersion, cfg.APIPath = &schema.GroupVersion{Version: "v1"}, "/"
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	cfg.QPS, cfg.DisableCompression = -1, true
	client, err := rest.RESTClientFor(cfg)
	if err != nil {
		return err
	}
	const path = "/apis/apps/v1/deployments"
	raw, err := client.Get().AbsPath(path).Param("limit", "1").SetHeader("Accept", "application/json").DoRaw(ctx)
	if err != nil {
		return err
	}
	var list struct{ Metadata metav1.ListMeta }
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	body, err := client.Get().AbsPath(path).Param("watch", "1").Param("resourceVersion", list.Metadata.ResourceVersion).
		SetHeader("Accept", "application/json").Stream(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	slog.Info("ready")
	lines := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		_, object, ok := bytes.Cut(bytes.TrimSpace(line), []byte(`"object":`))
		if !ok {
			return errors.New("watch: a line without object")
		}
		if err := send(ctx, sink, append([]byte(`{"new":`), object...)); err != nil {
			return err
		}
	}
}
