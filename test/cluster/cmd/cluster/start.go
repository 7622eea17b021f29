package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func start(ctx context.Context, args []string) error {
	var o options
	fs := newFlags("start")
	dirFlag(fs, &o)
	controllerManagerFlag(fs, &o)
	if err := parseAll(fs, args, "start [--dir folder] [--controller-manager]"); err != nil {
		return unlessHelp(err)
	}
	d, err := openDir(o.dir)
	if err != nil {
		return err
	}
	if err := d.create(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	unlock, err := lock(ctx, d.lock(), "waiting for another cluster command in "+o.dir)
	if err != nil {
		return err
	}
	defer unlock()
	if d.anyRunning() && d.healthy(ctx) {
		if o.controllerManager && !d.hasControllerManager() {
			return fmt.Errorf("start: the cluster in %s runs without kube-controller-manager; stop it first", o.dir)
		}
		fmt.Fprintf(os.Stderr, "a cluster is running in %s already\n", o.dir)
		fmt.Println(exportLine("KUBECONFIG", d.kubeconfig()))
		return nil
	}
	if err := d.sweep(); err != nil {
		return err
	}
	if err := startIn(ctx, d, o); err != nil {
		_ = d.remove()
		return err
	}
	fmt.Println(exportLine("KUBECONFIG", d.kubeconfig()))
	return nil
}

func startIn(ctx context.Context, d dir, o options) error {
	cache, err := openBuilt(ctx, o.controllerManager)
	if err != nil {
		return err
	}
	began := time.Now()
	cp := controlPlane{dir: d, cache: cache, controllerManager: o.controllerManager, choosePorts: freePorts}
	if err := cp.start(ctx); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "Kubernetes %s is ready at %s after %.1f s\n",
		cache.version, cp.ports.server(), time.Since(began).Seconds())
	return nil
}

// sweep ends and removes what is left of a control plane that is not whole any
// more, say after a reboot or a crash.
func (d dir) sweep() error {
	if err := d.endAll(stopGrace); err != nil {
		return err
	}
	return d.clean()
}

func openDir(path string) (dir, error) {
	if path == "" {
		return "", fmt.Errorf("--dir is empty, it must name a folder")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the folder: %w", err)
	}
	return dir(abs), nil
}
