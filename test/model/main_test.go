package model

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
)

// What make model sets. Without a time nothing is run but the tests of the judge.
const (
	timeEnv       = "KWATCHMAN_MODEL"       // of all set-ups together: 3m
	seedEnv       = "KWATCHMAN_MODEL_SEED"  // the first; none: another one each time
	seedsEnv      = "KWATCHMAN_MODEL_SEEDS" // how many, one after the other
	setupEnv      = "KWATCHMAN_MODEL_SETUP" // of the set-ups only those whose name contains it
	launcherEnv   = "KWATCHMAN_CLUSTER"     // the launcher of the control plane
	kubeconfigEnv = "KWATCHMAN_TEST_KUBECONFIG"
)

// binaries is the folder of the programs under test.
var binaries string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if os.Getenv(timeEnv) != "" {
		dir, err := os.MkdirTemp("", "kwatchman-model-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binaries = dir
		for name, pkg := range map[string]string{"watcher": "../../watcher/cmd", "kwatchman": "../.."} {
			out, err := exec.Command("go", "build", "-race", "-o", filepath.Join(dir, name), pkg).CombinedOutput()
			if err != nil {
				fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
				return 1
			}
		}
	}
	defer rows.print()
	return m.Run()
}

// asked gives the time of a run and its seeds, or skips the test.
func asked(t *testing.T) (whole time.Duration, seeds []uint64) {
	t.Helper()
	if os.Getenv(timeEnv) == "" {
		t.Skip("takes minutes and restarts the API server: run it with make model")
	}
	for _, name := range []string{kubeconfigEnv, launcherEnv} {
		require.NotEmpty(t, os.Getenv(name), "%s: run it with make model", name)
	}
	whole, err := time.ParseDuration(os.Getenv(timeEnv))
	require.NoError(t, err, timeEnv)
	first, count := rand.Uint64N(1e9), 1
	if text := os.Getenv(seedEnv); text != "" {
		first, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, seedEnv)
	}
	if text := os.Getenv(seedsEnv); text != "" {
		count, err = strconv.Atoi(text)
		require.NoError(t, err, seedsEnv)
	}
	for i := range count {
		seeds = append(seeds, first+uint64(i))
	}
	return whole, seeds
}

// table is what the runs fill and TestMain prints.
type table struct {
	mu   sync.Mutex
	rows []string
}

var rows table

func (t *table) add(row string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, row)
}

func (t *table) print() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 {
		return
	}
	tw := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "\nSET-UP\tSEED\tCHANGES MADE\tFAULTS\t"+Head)
	for _, r := range t.rows {
		_, _ = fmt.Fprintln(tw, r)
	}
	_ = tw.Flush()
	fmt.Println("+n: so many more were announced")
}
