// Command cluster gives tests and the demo a real Kubernetes control plane,
// etcd and kube-apiserver built from Go modules, on free loopback ports.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	os.Exit(exitCode(err))
}

// command is one subcommand: it parses its own flags.
type command struct {
	name, summary string
	run           func(ctx context.Context, args []string) error
}

func commands() []command {
	return []command{
		{"start", "start a control plane that keeps running, and print how to reach it", start},
		{"stop", "end it and remove its data", stop},
		{"restart", "restart its kube-apiserver on the same port; etcd and its data stay", restart},
		{"run", "run a command with a private control plane that ends with it", runCommand},
		{"build", "only build the binaries", build},
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("which command? " + known() + " (see cluster --help)")
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		fmt.Print(help())
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:])
		}
	}
	return fmt.Errorf("unknown command %q, known are %s", args[0], known())
}

func known() string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

func help() string {
	var b strings.Builder
	b.WriteString("usage: cluster <command> [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-8s %s\n", c.name, c.summary)
	}
	b.WriteString("\ncluster <command> --help lists the flags of a command.\n")
	return b.String()
}

// exitStatus ends the launcher with the status of the command that it ran;
// that command has already said what it had to say.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func exitCode(err error) int {
	var status exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	}
	fmt.Fprintln(os.Stderr, "cluster:", err)
	return 1
}
