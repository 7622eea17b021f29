package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/conform"
)

// settings are what the functions need to run with, without which some do not
// start.
func settingsOf(t *testing.T) map[string][]string {
	t.Helper()
	anything := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(anything.Close)
	return map[string][]string{
		"diff":         nil,
		"exec":         {"EXEC_COMMAND=cat /dev/null", "EXEC_CONCURRENCY=16", "EXEC_TIMEOUT=60s"},
		"filter":       {"FILTER_RULE=kind != ''"},
		"ignoreevents": {"IGNOREEVENTS_EVENTS=Delete"},
		"log":          nil,
		"webhook":      {"WEBHOOK_URL=" + anything.URL + secretPath, "WEBHOOK_ALLOW_LOCAL=true"},
		"slack":        {"SLACK_WEBHOOK_URL=" + anything.URL + secretPath},
	}
}

// eventFile is a file with a sample, as send and conform take it.
func eventFile(t *testing.T, e event.Event) string {
	t.Helper()
	out, err := e.ToCloudEvent()
	require.NoError(t, err)
	text, err := json.MarshalIndent(out, "", "  ")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "event.json")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

func TestEveryBuiltInFunctionConformsAsAProcess(t *testing.T) {
	folders, err := filepath.Glob("../../functions/*/cmd")
	require.NoError(t, err)
	require.NotEmpty(t, folders)
	settings := settingsOf(t)
	for _, f := range folders {
		name := filepath.Base(filepath.Dir(f))
		t.Run(name, func(t *testing.T) {
			env, ok := settings[name]
			require.True(t, ok, "say here what the function needs")
			url, _ := startFunction(t, name, env...)
			args := []string{"conform", "--strict", "--continues", eventFile(t, conform.Sample(event.Update))}
			if name == "ignoreevents" {
				args = append(args, "--stops", eventFile(t, conform.Sample(event.Delete)))
			}
			code, out, errs := runToEnd(t, "kwatchman", append(args, url), nil)
			require.Zero(t, code, "%s%s", out, errs)
			require.Regexp(t, `(?m)^attributes kept +ok `, out)
			require.Contains(t, out, "0 breaches of the contract, 0 pieces of advice")
			require.Empty(t, errs)
		})
	}
}

func TestConformSaysInOneLineWhatIsWrong(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "<html>It works!</html>")
	}))
	t.Cleanup(page.Close)
	plain := httptest.NewServer(event.Handler(nil))
	plain.Close()
	for name, c := range map[string]struct {
		args        []string
		out, stderr string
	}{
		"a page":        {[]string{page.URL}, "BREACH: continue\n", "kwatchman: conform: the endpoint breaks the contract\n"},
		"nobody there":  {[]string{plain.URL + secretPath}, "", "kwatchman: conform: endpoint: not reachable: connect: connection refused\n"},
		"no URL":        {[]string{"localhost:8080"}, "", "kwatchman: conform: the argument is no URL: want http://host:port/path or https://host/path\n"},
		"no time":       {[]string{"--timeout=-1s", page.URL}, "", "kwatchman: --timeout: bad value: want a duration such as 15s\n"},
		"no argument":   {nil, "", "kwatchman: conform: want one URL (see conform --help)\n"},
		"no such file":  {[]string{"--event", "/nowhere", page.URL}, "", "kwatchman: conform: /nowhere: no such file or directory\n"},
		"no event file": {[]string{"--stops", "conform_test.go", page.URL}, "", "conform_test.go: line 1 is no JSON: want CloudEvents in JSON, as --record writes them\n"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := runToEnd(t, "kwatchman", append([]string{"conform"}, c.args...), nil)
			require.Equal(t, 1, code)
			require.Contains(t, out, c.out)
			require.Contains(t, errs, c.stderr)
			require.NotContains(t, errs, "very-secret-token")
		})
	}
}

// A command does not inherit that its function outlives a closed stdout.
func TestACommandEndsWithWhoReadsItsOutput(t *testing.T) {
	url, _ := startFunction(t, "exec", "EXEC_SHELL=yes | head -1; echo done", "EXEC_TIMEOUT=30s")
	code, out, errs := runToEnd(t, "kwatchman", []string{"send", url}, nil)
	require.Zero(t, code, "%s%s", out, errs)
	url, _ = startFunction(t, "exec", `EXEC_SHELL=grep -q '^SigIgn:.*[13579bdf]...$' /proc/self/status && exit 1; exit 0`, "EXEC_TIMEOUT=30s")
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("needs /proc")
	}
	code, out, errs = runToEnd(t, "kwatchman", []string{"send", url}, nil)
	require.Zero(t, code, "SIGPIPE is ignored: %s%s", out, errs)
}
