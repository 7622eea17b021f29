package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests named TestFault break things on a real API server of their own and
// count what arrives. They take minutes, so that make test-faults and make soak
// run them: KWATCHMAN_FAULTS is short or long.
const (
	faultsEnv   = "KWATCHMAN_FAULTS"
	launcherEnv = "KWATCHMAN_CLUSTER" // the launcher of the control plane
)

// faults skips a test that was not asked for, and tells whether the long form
// was.
func faults(t *testing.T) (long bool) {
	t.Helper()
	form := os.Getenv(faultsEnv)
	if form == "" {
		t.Skip("takes minutes and restarts the API server: run it with make test-faults")
	}
	require.Contains(t, []string{"short", "long"}, form, faultsEnv)
	if form == "short" {
		hanging := time.AfterFunc(tooLong, func() {
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 2) // what follows is the news
			_, _ = fmt.Fprintf(os.Stderr, "\n--- FAIL: %s has not ended after %s\n", t.Name(), tooLong)
			os.Exit(1)
		})
		t.Cleanup(func() { hanging.Stop() })
	}
	return form == "long"
}

// tooLong is when a test hangs: each takes two minutes at most on a machine that
// does nothing else.
const tooLong = 15 * time.Minute

// rows is the table that the tests fill and TestMain prints.
var rows struct {
	mu   sync.Mutex
	text []string
}

// judged adds a row and fails the test if anything is not as promised.
func judged(t *testing.T, broken, often string, v verdict) {
	t.Helper()
	rows.mu.Lock()
	rows.text = append(rows.text, fmt.Sprintf("%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d",
		broken, often, v.sent, v.arrived, v.missing, v.duplicates, v.disorder, v.wrongOld, v.invented))
	rows.mu.Unlock()
	for _, n := range v.notes {
		t.Log(n)
	}
	require.Zero(t, v.missing, "missing")
	require.Zero(t, v.disorder, "out of order")
	require.Zero(t, v.wrongOld, "wrong old object")
	require.Zero(t, v.invented, "invented")
}

// printRows prints the table, if there is one.
func printRows() {
	rows.mu.Lock()
	defer rows.mu.Unlock()
	if len(rows.text) == 0 {
		return
	}
	tw := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "\nWHAT WAS BROKEN\tHOW OFTEN\tSENT\tARRIVED\tMISSING\tDUPLICATES\tOUT OF ORDER\tWRONG OLD\tINVENTED")
	for _, r := range rows.text {
		_, _ = fmt.Fprintln(tw, r)
	}
	_ = tw.Flush()
}

// apiServer is the control plane's, which may be ended and started.
type apiServer struct {
	t   *testing.T
	dir string
}

func (c *cluster) apiServer() apiServer {
	c.t.Helper()
	require.NotEmpty(c.t, os.Getenv(launcherEnv), launcherEnv)
	return apiServer{c.t, filepath.Dir(c.kubeconfig)}
}

// stop ends it at once.
func (a apiServer) stop() {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join(a.dir, "kube-apiserver.pid"))
	require.NoError(a.t, err)
	pid, err := strconv.Atoi(strings.Fields(string(text))[0])
	require.NoError(a.t, err)
	require.NoError(a.t, syscall.Kill(pid, syscall.SIGKILL))
}

// start starts it, on the same port and with the same data, and waits until it
// is ready.
func (a apiServer) start() {
	a.t.Helper()
	out, err := exec.Command(os.Getenv(launcherEnv), "restart", "--dir", a.dir).CombinedOutput()
	require.NoError(a.t, err, "%s", out)
}

// kill ends the program as a crash would.
func (p *process) kill() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Kill())
	<-p.ended
}

// awaitFor waits longer than eventually for what has to happen.
func awaitFor(t *testing.T, atMost time.Duration, ok func() bool, what string) {
	t.Helper()
	require.Eventually(t, ok, atMost, time.Second, "%s", what)
}
