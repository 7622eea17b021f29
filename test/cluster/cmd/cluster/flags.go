package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// defaultDir lies in the current folder, so that each checkout has its own.
const defaultDir = ".cluster"

// kubectlEnv tells a command where kubectl is.
const kubectlEnv = "KWATCHMAN_TEST_KUBECTL"

// errHelp says that help was asked for and printed: there is nothing to do.
var errHelp = errors.New("help")

type options struct {
	dir               string
	controllerManager bool
	kubectl           bool
	node              bool
	kubectlPath       string // of the built one, for run
	kubeconfigEnv     string
	command           []string
}

func newFlags(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // an error is one line, and main prints it
	return fs
}

func dirFlag(fs *flag.FlagSet, o *options) {
	fs.StringVar(&o.dir, "dir", defaultDir, "`folder` of the control plane's kubeconfig, logs and data")
}

func controllerManagerFlag(fs *flag.FlagSet, o *options) {
	fs.BoolVar(&o.controllerManager, "controller-manager", false,
		"kube-controller-manager too: ReplicaSets, service accounts, garbage collection")
}

func kubectlFlag(fs *flag.FlagSet, o *options) {
	fs.BoolVar(&o.kubectl, "kubectl", false, "kubectl too; run tells the command in "+kubectlEnv+" where it is")
}

// parse reads args into the variables of fs and returns what follows the
// flags. synopsis is what the help shows after "usage: cluster".
func parse(fs *flag.FlagSet, args []string, synopsis string) ([]string, error) {
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Printf("usage: cluster %s\n\n", synopsis)
		fs.SetOutput(os.Stdout)
		fs.PrintDefaults()
		return nil, errHelp
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w (see cluster %[1]s --help)", fs.Name(), err)
	}
	return fs.Args(), nil
}

// parseAll is parse for a command that takes flags only.
func parseAll(fs *flag.FlagSet, args []string, synopsis string) error {
	rest, err := parse(fs, args, synopsis)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%s: unexpected argument %q (see cluster %[1]s --help)", fs.Name(), rest[0])
	}
	return nil
}

// unlessHelp makes a printed help a success.
func unlessHelp(err error) error {
	if errors.Is(err, errHelp) {
		return nil
	}
	return err
}
