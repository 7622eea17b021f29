package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// progressEvery is how often a running build says how long it has taken.
const progressEvery = 15 * time.Second

func build(ctx context.Context, args []string) error {
	var o options
	fs := newFlags("build")
	controllerManagerFlag(fs, &o)
	kubectlFlag(fs, &o)
	if err := parseAll(fs, args, "build [--controller-manager] [--kubectl]"); err != nil {
		return unlessHelp(err)
	}
	c, err := openBuilt(ctx, o.controllerManager)
	if err != nil {
		return err
	}
	fmt.Println(c.dir)
	if !o.kubectl {
		return nil
	}
	kubectl, err := builtKubectl(ctx)
	if err != nil {
		return err
	}
	fmt.Println(filepath.Dir(kubectl))
	return nil
}

// builtKubectl returns the path of kubectl, which it builds if it misses.
func builtKubectl(ctx context.Context) (string, error) {
	c, err := openModuleCache(ctx, "kubectl", kubectlProgram)
	if err != nil {
		return "", err
	}
	return c.path(kubectlProgram), c.ensure(ctx, kubectlProgram, "kubectl "+c.version+" from Go modules, less than a minute")
}

// openBuilt returns the cache with the programs in it, and builds what misses.
func openBuilt(ctx context.Context, controllerManager bool) (*cache, error) {
	c, err := openCache(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.ensure(ctx, controlPlaneProgram, "etcd and kube-apiserver "+c.version+" from Go modules, about 6 minutes"); err != nil {
		return nil, err
	}
	if controllerManager {
		err = c.ensure(ctx, controllerManagerProgram, "kube-controller-manager "+c.version+" from Go modules, about 1 minute")
	}
	return c, err
}

// ensure builds p unless it is there. The lock makes a second checkout wait
// for the first one's build and then use it.
func (c *cache) ensure(ctx context.Context, p program, what string) error {
	if c.has(p) {
		return nil
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	unlock, err := lock(ctx, c.path(p)+".lock", "waiting for another build of "+p.name)
	if err != nil {
		return err
	}
	defer unlock()
	if c.has(p) {
		return nil
	}
	fmt.Fprintf(os.Stderr, "building %s the first time …\n", what)
	began := time.Now()
	if err := c.build(ctx, p, os.Stderr); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "built %s in %s\n", p.name, time.Since(began).Round(time.Second))
	return nil
}

// build links to another name and renames, so that whoever looks finds a
// whole binary or none.
func (c *cache) build(ctx context.Context, p program, progress io.Writer) error {
	unfinished := c.path(p) + ".unfinished"
	defer func() { _ = os.Remove(unfinished) }()

	args := append([]string{"build"}, c.flags...)
	cmd := goCommand(ctx, c.source, append(args, "-o", unfinished, p.pkg)...)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	// The Go command removes its own temporary files when it is interrupted.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second

	finished := make(chan struct{})
	go tell(progress, finished)
	err := cmd.Run()
	close(finished)
	if ctx.Err() != nil {
		return fmt.Errorf("build %s: interrupted", p.name)
	}
	if err != nil {
		return fmt.Errorf("build %s: %w\n%s", p.name, err, lastLines(output.String(), 15))
	}
	if err := os.Rename(unfinished, c.path(p)); err != nil {
		return fmt.Errorf("put %s in the cache: %w", p.name, err)
	}
	return nil
}

// tell writes the time that has passed until finished is closed.
func tell(w io.Writer, finished <-chan struct{}) {
	began := time.Now()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-finished:
			return
		case <-tick.C:
			fmt.Fprintf(w, "  still building, %s so far\n", time.Since(began).Round(time.Second))
		}
	}
}
