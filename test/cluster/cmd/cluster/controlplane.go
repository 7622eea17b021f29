package main

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// startAttempts bounds the tries after somebody else took a chosen port.
const startAttempts = 4

// controlPlane is how the servers of one folder are started.
type controlPlane struct {
	dir               dir
	cache             *cache
	controllerManager bool
	bound             bool                  // dies with the launcher
	withNode          bool                  // Pods reach the API server
	choosePorts       func() (ports, error) // freePorts, but for tests

	ports     ports
	processes []*process
	node      []*process // of the node; they end with its namespaces
}

// start brings the servers up in a clean folder, and leaves nothing if it fails.
func (cp *controlPlane) start(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		err := cp.startOnce(ctx)
		if err == nil {
			return nil
		}
		err = errors.Join(err, cp.end(), cp.dir.clean())
		var died *diedError
		if !errors.As(err, &died) || !died.addressInUse() || attempt == startAttempts {
			return err
		}
		fmt.Fprintf(os.Stderr, "somebody took the port of %s, trying others …\n", died.name)
	}
}

func (cp *controlPlane) startOnce(ctx context.Context) (err error) {
	cp.processes = nil
	if cp.ports, err = cp.choosePorts(); err != nil {
		return err
	}
	if err := cp.dir.writePorts(cp.ports); err != nil {
		return err
	}
	if err := cp.dir.writePKI(); err != nil {
		return err
	}
	if err := cp.dir.writeKubeconfig(cp.ports.server()); err != nil {
		return err
	}
	if err := cp.startServer(ctx, etcdName); err != nil {
		return err
	}
	if err := cp.startServer(ctx, apiServerName); err != nil {
		return err
	}
	if !cp.controllerManager {
		return nil
	}
	return cp.startServer(ctx, controllerManagerName)
}

// end ends what this launcher started. Its data is not kept, so there is nothing
// to end gently.
func (cp *controlPlane) end() error {
	err := cp.dir.endAll(0)
	if err == nil {
		for _, p := range cp.processes {
			<-p.done
		}
	}
	return err
}

// startServer starts one server and waits until it is ready.
func (cp *controlPlane) startServer(ctx context.Context, name string) error {
	client, err := cp.dir.client()
	if err != nil {
		return err
	}
	binary, args, ready := cp.cache.path(controlPlaneProgram), []string(nil), []string(nil)
	switch name {
	case etcdName:
		args, ready = etcdArgs(cp.dir, cp.ports), etcdReady(cp.ports)
	case apiServerName:
		args, ready = apiServerArgs(cp.dir, cp.ports), apiServerReady(cp.ports)
		if cp.withNode {
			args = append(args, apiServerNodeArgs(cp.dir)...)
		}
	case controllerManagerName:
		binary = cp.cache.path(controllerManagerProgram)
		args, ready = controllerManagerArgs(cp.dir, cp.ports), controllerManagerReady(cp.ports)
	}
	p, err := launchServer(cp.dir, name, binary, args, cp.bound)
	if err != nil {
		return err
	}
	cp.processes = append(cp.processes, p)
	return client.await(ctx, p, ready)
}

// healthy: everything that was started in d still answers.
func (d dir) healthy(ctx context.Context) bool {
	client, err := d.client()
	if err != nil {
		return false
	}
	p, err := d.readPorts()
	if err != nil {
		return false
	}
	urls := append(etcdReady(p), apiServerReady(p)...)
	if d.hasControllerManager() {
		urls = append(urls, controllerManagerReady(p)...)
	}
	return client.ok(ctx, urls...) == nil
}

func (d dir) hasControllerManager() bool {
	_, err := os.Stat(d.pid(controllerManagerName))
	return err == nil
}
