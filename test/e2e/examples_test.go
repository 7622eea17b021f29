package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/conform"
)

// startExample runs an example on a free port until it listens.
func startExample(t *testing.T, program string, args ...string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "PORT="+port)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, "%s listens", program)
	return "http://" + address
}

func TestExamplesConformAndFitOnAPage(t *testing.T) {
	stops := conform.Sample(event.Update)
	inKubeSystem := stops
	inKubeSystem.Namespace = "kube-system"
	pod := stops
	pod.Kind = "Pod"
	for name, c := range map[string]struct {
		file, needs string
		stops       event.Event
	}{
		"python": {"../../examples/python/quiet.py", "python3", inKubeSystem},
		"node":   {"../../examples/node/kinds.mjs", "node", pod},
		"go":     {"../../examples/go/runbook.go", "go", conform.Sample(event.Delete)},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(c.file)
			require.NoError(t, err)
			require.Less(t, strings.Count(string(text), "\n"), 40, "lines")
			program, err := exec.LookPath(c.needs)
			if err != nil {
				t.Skipf("needs %s, which is not installed", c.needs)
			}
			args := []string{c.file}
			if name == "go" {
				built := filepath.Join(t.TempDir(), "runbook")
				out, err := exec.Command(program, "build", "-o", built, c.file).CombinedOutput()
				require.NoError(t, err, "%s", out)
				program, args = built, nil
			}
			url := startExample(t, program, args...)
			code, out, errs := runToEnd(t, "kwatchman", []string{
				"conform", "--continues", eventFile(t, conform.Sample(event.Update)), "--stops", eventFile(t, c.stops), url,
			}, nil)
			require.Zero(t, code, "%s%s", out, errs)
			require.Contains(t, out, " 0 breaches of the contract")
			code, out, _ = runToEnd(t, "kwatchman", []string{"send", "diff", url, "log"}, []string{"LOG_FORMAT=text", "LOG_COLOR=never"})
			require.Zero(t, code, out)
			if name == "go" {
				require.Contains(t, out, "Runbook: https://example.com/runbooks/Deployment\n")
			}
			require.Contains(t, out, fmt.Sprintf("2 %s: continues", url))
		})
	}
}
