package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func runCommand(ctx context.Context, args []string) (err error) {
	o, err := runOptions(args)
	if err != nil {
		return unlessHelp(err)
	}
	if o.node && os.Getenv(insideEnv) == "" {
		return enterNode(ctx, args)
	}
	if o.node {
		o.controllerManager = true // who makes Pods
		if err := settle(); err != nil {
			return err
		}
	}
	cache, err := openBuilt(ctx, o.controllerManager)
	if err != nil {
		return err
	}
	if o.kubectl {
		if o.kubectlPath, err = builtKubectl(ctx); err != nil {
			return err
		}
	}
	temp, err := os.MkdirTemp("", "kwatchman-cluster-")
	if err != nil {
		return fmt.Errorf("run: make a folder: %w", err)
	}
	d := dir(temp)
	// The lock file makes the folder one that restart takes.
	if err := os.WriteFile(d.lock(), nil, 0o600); err != nil {
		return errors.Join(fmt.Errorf("run: %w", err), os.RemoveAll(temp))
	}
	leave, err := removeAfterDeath(d)
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	cp := controlPlane{
		dir: d, cache: cache, controllerManager: o.controllerManager, bound: true, choosePorts: freePorts, withNode: o.node,
	}
	defer func() {
		err = errors.Join(err, cp.end())
		if !o.node { // there the outer launcher removes it, when nothing is mounted any more
			err = errors.Join(err, os.RemoveAll(temp))
		}
		_ = leave.Close()
	}()
	if err := cp.start(ctx); err != nil {
		return err
	}
	if o.node {
		if err := cp.startNode(ctx); err != nil {
			return err
		}
	}
	return cp.execute(o)
}

func runOptions(args []string) (options, error) {
	var o options
	fs := newFlags("run")
	controllerManagerFlag(fs, &o)
	kubectlFlag(fs, &o)
	fs.BoolVar(&o.node, "node", false, "a node that runs Pods, too: needs root, Linux, containerd, runc and CNI plugins")
	fs.StringVar(&o.kubeconfigEnv, "kubeconfig-env", "KWATCHMAN_TEST_KUBECONFIG",
		"`name` of the environment variable that tells the command where the kubeconfig is")
	rest, err := parse(fs, args, "run [--controller-manager] [--kubectl] [--node] [--kubeconfig-env name] -- command [args…]")
	if err != nil {
		return o, err
	}
	if len(rest) == 0 {
		return o, errors.New("run: no command given (see cluster run --help)")
	}
	if o.kubeconfigEnv == "" {
		return o, errors.New("run: --kubeconfig-env is empty, it must name a variable")
	}
	// A typing error is told at once, not after the start.
	if _, err := exec.LookPath(rest[0]); err != nil {
		return o, fmt.Errorf("run: %w", err)
	}
	o.command = rest
	return o, nil
}

// execute runs the command and returns its exit status as an exitStatus. A
// signal goes to the command, which decides what to do with it.
func (cp *controlPlane) execute(o options) error {
	cmd := exec.Command(o.command[0], o.command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), o.kubeconfigEnv+"="+cp.dir.kubeconfig())
	if o.kubectlPath != "" {
		cmd.Env = append(cmd.Env, kubectlEnv+"="+o.kubectlPath)
	}
	if cp.withNode {
		cmd.Env = append(cmd.Env, ctrEnv+"=ctr --address "+cp.dir.path("containerd.sock")+" --namespace k8s.io")
	}
	cmd.SysProcAttr = sameSession()

	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	p, err := launch(o.command[0], cmd)
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	for _, server := range append(cp.processes, cp.node...) {
		go server.warnIfEndsBefore(p)
	}
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s)
		case <-p.done:
			return commandStatus(p.err)
		}
	}
}

// commandStatus follows the shells: 128 and the signal for a command that a
// signal ended.
func commandStatus(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitStatus(128 + int(status.Signal()))
	}
	return exitStatus(exit.ExitCode())
}

// warnIfEndsBefore explains why a command suddenly finds no API server.
func (p *process) warnIfEndsBefore(command *process) {
	select {
	case <-command.done:
	case <-p.done:
		fmt.Fprintln(os.Stderr, "cluster:", p.died())
	}
}

// removeAfterDeath starts a helper that removes the folder when the launcher is
// gone, however it went: the pipe that the helper reads closes with it.
func removeAfterDeath(d dir) (io.Closer, error) {
	cmd := exec.Command("/bin/sh", "-c", `read -r _; rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }`, "sh", string(d))
	cmd.SysProcAttr = ownSession(false)
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run: start the helper that cleans up: %w", err)
	}
	return pipe, nil
}
