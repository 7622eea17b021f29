package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kubeconfigEnv is where bin/cluster run says how to reach its control plane.
const kubeconfigEnv = "KWATCHMAN_TEST_KUBECONFIG"

// The parts, in the order in which they run.
const (
	partLatency    = "latency"
	partMemory     = "memory"
	partThroughput = "throughput"
	partCold       = "cold"
	partDiff       = "diff"
)

var parts = []string{partLatency, partMemory, partThroughput, partCold, partDiff}

// options are what the command line says.
type options struct {
	bin        string
	out        string // folder of the plot
	kubeconfig string
	sizes      []int // of the memory part
	load       int   // objects on the real API server
	changes    int   // to record
	rate       int   // changes a second, on the real API server
	lasting    time.Duration
	settle     time.Duration // before memory counts as steady
	starts     int           // of each function
	posts      int           // to diff
	only       []string
}

func (o *options) runs(part string) bool { return slices.Contains(o.only, part) }

// usage opens the help.
const usage = `Usage: bin/cluster run -- bin/bench [flags]

Measures kwatchman beside a plain client-go informer. It fills the control plane
that %s names, which must hold no Deployments yet: a fresh one,
as bin/cluster run gives. Results are Markdown on stdout. It takes about 16
minutes, with --short about two. Nothing else should run meanwhile.

`

// parse reads the command line; flag.ErrHelp means that help was printed.
func parse(args []string, help io.Writer) (options, error) {
	o := options{kubeconfig: os.Getenv(kubeconfigEnv), only: parts}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(help)
	fs.Usage = func() {
		fmt.Fprintf(help, usage, kubeconfigEnv)
		fs.PrintDefaults()
	}
	short := fs.Bool("short", false, "small sizes, to see that it works; flags beside it go first")
	sizes := fs.String("objects", "1000,10000,50000", "numbers of objects at which memory is measured")
	fs.StringVar(&o.bin, "bin", "bin", "folder of the programs")
	fs.StringVar(&o.out, "out", "", "folder for performance.svg (default that of the programs)")
	fs.IntVar(&o.load, "load", 10000, "Deployments to create on the real API server")
	fs.IntVar(&o.changes, "changes", 20000, "changes to record")
	fs.IntVar(&o.rate, "rate", 100, "changes a second when latency is measured")
	fs.DurationVar(&o.lasting, "lasting", 30*time.Second, "how long changes are made when latency is measured")
	fs.DurationVar(&o.settle, "settle", 8*time.Second, "time until memory counts as steady")
	fs.IntVar(&o.starts, "starts", 20, "cold starts of each program")
	fs.IntVar(&o.posts, "posts", 2000, "events posted to diff")
	only := fs.String("only", "", "run these parts only: "+strings.Join(parts, ","))
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q: see --help", fs.Arg(0))
	}
	if *short {
		if err := shorten(fs); err != nil {
			return o, err
		}
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	if o.out == "" {
		o.out = o.bin
	}
	return o, o.check(*sizes)
}

// shorten sets what was not set to a size that takes a minute or two.
func shorten(fs *flag.FlagSet) error {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{
		"objects": "200,1000", "load": "500", "changes": "1000", "lasting": "3s", "settle": "1s",
		"starts": "3", "posts": "300",
	} {
		if given[name] {
			continue
		}
		if err := fs.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

// check reads the sizes and refuses what cannot be measured.
func (o *options) check(sizes string) error {
	for _, n := range []struct {
		name        string
		value, most int
	}{{"load", o.load, 99999}, {"changes", o.changes, math.MaxInt}, {"rate", o.rate, math.MaxInt}, {"starts", o.starts, math.MaxInt}, {"posts", o.posts, math.MaxInt}} {
		if n.value < 1 || n.value > n.most {
			return fmt.Errorf("--%s: %d is no number from 1 to %d", n.name, n.value, n.most)
		}
	}
	for name, d := range map[string]time.Duration{"lasting": o.lasting, "settle": o.settle} {
		if d < time.Second {
			return fmt.Errorf("--%s: %s is less than a second", name, d)
		}
	}
	if info, err := os.Stat(o.out); err != nil || !info.IsDir() {
		return fmt.Errorf("--out: %s is no folder", o.out)
	}
	for s := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 || n > maxCopies*o.load {
			return fmt.Errorf("--objects: %q is no number from 1 to %d times --load", s, maxCopies)
		}
		o.sizes = append(o.sizes, n)
	}
	slices.Sort(o.sizes)
	for _, p := range o.only {
		if !slices.Contains(parts, p) {
			return fmt.Errorf("--only: unknown part %q: want some of %s", p, strings.Join(parts, ","))
		}
	}
	if o.kubeconfig == "" {
		return fmt.Errorf("%s is not set: run it with make bench, or bin/cluster run -- bin/bench", kubeconfigEnv)
	}
	return nil
}
