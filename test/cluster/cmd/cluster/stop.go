package main

import (
	"context"
	"fmt"
	"os"
)

func stop(ctx context.Context, args []string) error {
	var o options
	fs := newFlags("stop")
	dirFlag(fs, &o)
	if err := parseAll(fs, args, "stop [--dir folder]"); err != nil {
		return unlessHelp(err)
	}
	d, err := openDir(o.dir)
	if err != nil {
		return err
	}
	if !d.isOurs() {
		fmt.Fprintf(os.Stderr, "no cluster is running in %s\n", o.dir)
		return nil
	}
	unlock, err := lock(ctx, d.lock(), "waiting for another cluster command in "+o.dir)
	if err != nil {
		return err
	}
	defer unlock()
	message := "stopped the cluster in %s\n"
	if !d.anyRunning() {
		message = "no cluster is running in %s; removed what one had left\n"
	}
	if err := d.endAll(stopGrace); err != nil {
		return err
	}
	if err := d.remove(); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, message, o.dir)
	return nil
}

// restart is for tests of what a client does when the API server goes away and
// comes back without its watch cache.
func restart(ctx context.Context, args []string) error {
	var o options
	fs := newFlags("restart")
	dirFlag(fs, &o)
	if err := parseAll(fs, args, "restart [--dir folder]"); err != nil {
		return unlessHelp(err)
	}
	d, err := openDir(o.dir)
	if err != nil {
		return err
	}
	if !d.isOurs() || d.running(etcdName) == nil {
		return fmt.Errorf("restart: no cluster is running in %s", o.dir)
	}
	unlock, err := lock(ctx, d.lock(), "waiting for another cluster command in "+o.dir)
	if err != nil {
		return err
	}
	defer unlock()
	cp := controlPlane{dir: d}
	if cp.cache, err = openBuilt(ctx, false); err != nil {
		return err
	}
	if cp.ports, err = d.readPorts(); err != nil {
		return err
	}
	if err := d.end(apiServerName, stopGrace); err != nil {
		return err
	}
	if err := cp.startServer(ctx, apiServerName); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "restarted kube-apiserver at %s\n", cp.ports.server())
	return nil
}
