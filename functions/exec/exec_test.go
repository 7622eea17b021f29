//go:build unix

package exec

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

func with(edit func(*Config)) Config {
	cfg := Default()
	edit(&cfg)
	return cfg
}

func shell(line string) Config { return with(func(c *Config) { c.Shell = line }) }

func newExec(t *testing.T, cfg Config) event.Handler {
	t.Helper()
	h, err := New(cfg)
	require.NoError(t, err)
	return h
}

func TestKeepsTheProtocol(t *testing.T) {
	// The samples differ in their action only, which the command gets too.
	h := newExec(t, with(func(c *Config) {
		c.Shell, c.Concurrency = `test "$KWATCHMAN_ACTION" != Delete || { echo not this; exit 78; }`, 16
		c.Timeout = time.Minute
	}))
	eventtest.Run(t, eventtest.Target{
		Handler: h, Continues: eventtest.Sample(event.Update), Stops: new(eventtest.Sample(event.Delete)),
	})
}

func TestTheExitCodeDecides(t *testing.T) {
	status := func(err error) int {
		e, ok := err.(*event.Error) //nolint:errorlint // its own
		require.True(t, ok, "%v", err)
		return e.Status
	}
	e := eventtest.Sample(event.Update)
	e.Payload = event.TextPayload("text/plain", "before")
	for line, want := range map[string]string{
		"true":                   "before",
		"echo; echo":             "before",
		"echo after":             "after\n",
		"echo after; echo x >&2": "after\n",
	} {
		got, err := newExec(t, shell(line))(t.Context(), e)
		require.NoError(t, err, line)
		require.Equal(t, want, got.Payload.Text(), line)
	}
	for line, want := range map[string]string{
		"echo first; echo 'nobody is on call'; exit 78": "nobody is on call",
		"echo first >&2; exit 78":                       "first",
		"exit 78":                                       "sh exited with 78",
	} {
		got, err := newExec(t, shell(line))(t.Context(), e)
		require.Nil(t, got)
		require.Equal(t, event.Stop(want), err, line)
	}
	_, err := newExec(t, shell("echo the line is busy >&2; exit 75"))(t.Context(), e)
	require.EqualError(t, err, "sh exited with 75: the line is busy")
	require.Equal(t, http.StatusServiceUnavailable, status(err))
	for line, want := range map[string]string{
		"echo a >&2; echo no such ticket >&2; exit 1": "sh exited with 1: no such ticket",
		"exit 77":                                "sh exited with 77",
		"exit 255":                               "sh exited with 255",
		"kill -9 $$":                             "sh was ended by killed",
		"nosuchprogram":                          "sh exited with 127: ",
		"printf '\\001\\033[31mred' >&2; exit 3": "sh exited with 3:   [31mred",
		"head -c 9000 /dev/zero | tr '\\0' x >&2; exit 3": "sh exited with 3: " + strings.Repeat("x", 300) + "…",
	} {
		_, err := newExec(t, shell(line))(t.Context(), e)
		require.ErrorContains(t, err, want, line)
		require.Equal(t, event.StatusPermanent, status(err), line)
		require.Less(t, len(err.Error()), event.MaxErrorBody)
	}
}

func TestTheEventIsOnStdinAndInTheEnvironmentAndNothingElse(t *testing.T) {
	t.Setenv("EXEC_TEST_SECRET", "do not hand on")
	t.Setenv("EXEC_TEST_NAMED", "hand on")
	e := eventtest.SampleOddName(event.Update)
	e.Diff = &event.Diff{Summary: "verbs\x00 " + strings.Repeat("ü", maxVariable)}
	cfg := shell("env -0; cat > out")
	cfg.Dir, cfg.Env = t.TempDir(), []string{"EXEC_TEST_NAMED", " ", "EXEC_TEST_UNSET"}
	got, err := newExec(t, cfg)(t.Context(), e)
	require.NoError(t, err)
	var text string
	require.NoError(t, json.Unmarshal(got.Payload.Data, &text))
	env := map[string]string{}
	for _, kv := range strings.Split(strings.TrimSuffix(text, "\x00"), "\x00") {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	for name, want := range map[string]string{
		"EXEC_TEST_NAMED": "hand on", "PATH": os.Getenv("PATH"), "KWATCHMAN_NAME": "line\nbreak 100% größe", "KWATCHMAN_ACTION": "Update",
		"KWATCHMAN_ID": e.ID, "KWATCHMAN_KIND": "Role", "KWATCHMAN_NAMESPACE": "shop", "KWATCHMAN_CLUSTER": "prod-eu",
		"KWATCHMAN_SUBJECT": e.Subject, "KWATCHMAN_TIME": "2026-11-22T09:30:01.5Z", "KWATCHMAN_CHANGED_BY": "kubectl-edit", "KWATCHMAN_VIA": "watch",
		"KWATCHMAN_API_VERSION": "rbac.authorization.k8s.io/v1", "KWATCHMAN_TITLE": "UPDATE Role shop/line break 100% größe",
	} {
		require.Equal(t, want, env[name], name)
	}
	require.True(t, strings.HasPrefix(env["KWATCHMAN_SUMMARY"], "verbs ü"))
	require.LessOrEqual(t, len(env["KWATCHMAN_SUMMARY"]), maxVariable)
	for name := range env {
		switch name {
		case "PATH", "HOME", "LANG", "TZ", "TMPDIR", "EXEC_TEST_NAMED", "PWD", "SHLVL", "_", "OLDPWD": // the last four are the shell's
		default:
			require.True(t, strings.HasPrefix(name, "KWATCHMAN_"), name)
		}
	}
	stdin, err := os.ReadFile(filepath.Join(cfg.Dir, "out"))
	require.NoError(t, err)
	read, err := event.Decode(http.Header{"Content-Type": {"application/cloudevents+json"}}, stdin)
	require.NoError(t, err)
	require.Equal(t, e.Name, read.Name)
	require.JSONEq(t, string(e.Object), string(read.Object))
}

func TestTheValuesHandedOnAreNotShown(t *testing.T) {
	t.Setenv("EXEC_TEST_TOKEN", "very-secret")
	for line, want := range map[string]string{
		`echo "bad $EXEC_TEST_TOKEN" >&2; exit 1`:   "sh exited with 1: bad (hidden)",
		`echo "busy $EXEC_TEST_TOKEN" >&2; exit 75`: "sh exited with 75: busy (hidden)",
		`echo "quiet $EXEC_TEST_TOKEN"; exit 78`:    "stop: quiet (hidden)",
	} {
		cfg := shell(line)
		cfg.Env = []string{"EXEC_TEST_TOKEN"}
		_, err := newExec(t, cfg)(t.Context(), eventtest.Sample(event.Update))
		require.EqualError(t, err, want)
	}
}

func TestArgumentsArePassedAsTheyAreWithoutAShell(t *testing.T) {
	cfg := with(func(c *Config) {
		c.Command = `printf '%s|' "$(id)" ';' a\ b 'it''s' "say \"x\" \n" * $HOME '' ü`
	})
	got, err := newExec(t, cfg)(t.Context(), eventtest.Sample(event.Update))
	require.NoError(t, err)
	require.Equal(t, `$(id)|;|a b|its|say "x" \n|*|$HOME||ü|`, got.Payload.Text())
}

func TestACommandThatDoesNotReadItsStdinIsFine(t *testing.T) {
	e := eventtest.Sample(event.Update)
	e.Extra = map[string]json.RawMessage{"big": json.RawMessage(`"` + strings.Repeat("x", 4<<20) + `"`)}
	for _, line := range []string{"exit 0", "exec <&-; echo x"} {
		_, err := newExec(t, shell(line))(t.Context(), e)
		require.NoError(t, err, line)
	}
}

func TestWhatIsPrintedIsAPayloadOfItsType(t *testing.T) {
	e := eventtest.Sample(event.Update)
	run := func(contentType, line string) (*event.Event, error) {
		cfg := shell(line)
		cfg.ContentType = contentType
		return newExec(t, cfg)(t.Context(), e)
	}
	got, err := run("application/json", `echo '{"a": 12345678901234567890}'`)
	require.NoError(t, err)
	require.Equal(t, `{"a": 12345678901234567890}`, string(got.Payload.Data))
	_, err = run("application/json", `echo '{"a": '`)
	require.EqualError(t, err, "sh printed no JSON, which EXEC_CONTENT_TYPE says it is")
	got, err = run("text/plain", `printf '\377\376'`)
	require.NoError(t, err)
	require.Equal(t, event.Payload{ContentType: "application/octet-stream", DataBase64: []byte{0xff, 0xfe}}, *got.Payload)
	got, err = run("image/png", `printf '\377'`)
	require.NoError(t, err)
	require.Equal(t, "image/png", got.Payload.ContentType)
}

func TestOutputIsBounded(t *testing.T) {
	cfg := shell("yes")
	cfg.MaxOutput = 64 << 10
	_, err := newExec(t, cfg)(t.Context(), eventtest.Sample(event.Update))
	require.EqualError(t, err, "sh printed more than 65536 bytes: EXEC_MAX_OUTPUT allows more")
	just := shell("head -c 65536 /dev/zero | tr '\\0' x")
	just.MaxOutput = 64 << 10
	got, err := newExec(t, just)(t.Context(), eventtest.Sample(event.Update))
	require.NoError(t, err)
	require.Len(t, got.Payload.Text(), 64<<10)
}

// alive tells whether a process runs, for a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !os.IsNotExist(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}

// pids reads the numbers that a command has written to a file.
func pids(t *testing.T, path string) []int {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var out []int
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		require.NoError(t, err)
		out = append(out, pid)
	}
	return out
}

func requireGone(t *testing.T, all []int) {
	t.Helper()
	require.NotEmpty(t, all)
	for _, pid := range all {
		require.Eventually(t, func() bool { return !alive(pid) }, 30*time.Second, 5*time.Millisecond, "process %d", pid)
	}
}

const children = `for i in 1 2 3 4 5 6 7 8 9 10; do sleep 600 & echo $! >> pids; done; echo $$ >> pids; `

func TestTheWholeProcessGroupEndsWithTheTime(t *testing.T) {
	for name, line := range map[string]string{
		"obedient": children + "wait",
		"stubborn": "trap '' TERM; " + children + "while :; do sleep 1; done",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := shell(line)
			cfg.Dir, cfg.Timeout = t.TempDir(), 300*time.Millisecond
			_, err := newExec(t, cfg)(t.Context(), eventtest.Sample(event.Update))
			require.EqualError(t, err, "sh did not end within 300ms")
			require.Equal(t, http.StatusServiceUnavailable, err.(*event.Error).Status) //nolint:errorlint,forcetypeassert // its own
			requireGone(t, pids(t, filepath.Join(cfg.Dir, "pids")))
		})
	}
}

func TestWhoIsLeftBehindEndsTooAndHoldsNothingUp(t *testing.T) {
	cfg := shell(children + "echo done")
	cfg.Dir = t.TempDir()
	got, err := newExec(t, cfg)(t.Context(), eventtest.Sample(event.Update))
	require.NoError(t, err)
	require.Equal(t, "done\n", got.Payload.Text())
	requireGone(t, pids(t, filepath.Join(cfg.Dir, "pids")))
}

func TestTheCommandEndsWithItsCaller(t *testing.T) {
	cfg := shell(children + "wait")
	cfg.Dir, cfg.Timeout = t.TempDir(), time.Minute
	file := filepath.Join(cfg.Dir, "pids")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for {
			if text, err := os.ReadFile(file); err == nil && strings.Count(string(text), "\n") == 11 {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	_, err := newExec(t, cfg)(ctx, eventtest.Sample(event.Update))
	require.EqualError(t, err, "sh was ended: nobody waits for it any more")
	requireGone(t, pids(t, file))
}

func TestNoMoreCommandsRunThanAreAllowed(t *testing.T) {
	cfg := shell(`mkdir running/$$ && ls running | wc -l && sleep 0.02 && rmdir running/$$`)
	cfg.Dir, cfg.Concurrency, cfg.Timeout = t.TempDir(), 3, time.Minute
	require.NoError(t, os.Mkdir(filepath.Join(cfg.Dir, "running"), 0o700))
	h := newExec(t, cfg)
	var all sync.WaitGroup
	most := make([]int, 50)
	for i := range most {
		all.Go(func() {
			got, err := h(t.Context(), eventtest.Sample(event.Update))
			if err != nil {
				t.Error(err)
				return
			}
			most[i], _ = strconv.Atoi(strings.TrimSpace(got.Payload.Text()))
		})
	}
	all.Wait()
	for _, n := range most {
		require.GreaterOrEqual(t, n, 1)
		require.LessOrEqual(t, n, 3)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	busy := with(func(c *Config) { c.Shell, c.Concurrency, c.Dir = "touch begun; exec sleep 600", 1, t.TempDir() })
	busy.Timeout = time.Minute
	h = newExec(t, busy)
	held, release := context.WithCancel(t.Context())
	all.Go(func() { _, _ = h(held, eventtest.Sample(event.Update)) })
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(busy.Dir, "begun")); return err == nil }, 30*time.Second, 5*time.Millisecond)
	_, err := h(ctx, eventtest.Sample(event.Update))
	require.EqualError(t, err, "sh did not get its turn in time")
	release()
	all.Wait()
}

func TestAMistakeStopsTheStartWithOneLine(t *testing.T) {
	noProgram := filepath.Join(t.TempDir(), "no program")
	require.NoError(t, os.WriteFile(noProgram, []byte("x"), 0o600))
	for want, edit := range map[string]func(*Config){
		"EXEC_COMMAND is not set: want a program and its arguments, or EXEC_SHELL": func(*Config) {},
		"EXEC_COMMAND and EXEC_SHELL are both set: want one of them":               func(c *Config) { c.Command, c.Shell = "true", "true" },
		"EXEC_COMMAND: nosuchprogram: executable file not found in $PATH":          func(c *Config) { c.Command = "nosuchprogram --token=secret" },
		"EXEC_COMMAND: no program: permission denied":                              func(c *Config) { c.Command = "'" + noProgram + "' secret" },
		"EXEC_COMMAND: bad value: a quote has no end":                              func(c *Config) { c.Command = "echo 'secret" },
		"EXEC_COMMAND: bad value: ends with a backslash":                           func(c *Config) { c.Command = `echo secret\` },
		"EXEC_COMMAND: bad value: want a program":                                  func(c *Config) { c.Command = "''" },
		"EXEC_DIR: is no folder":                                                   func(c *Config) { c.Command, c.Dir = "true", "/nowhere" },
		"EXEC_TIMEOUT: bad value: want a duration such as 10s":                     func(c *Config) { c.Command, c.Timeout = "true", 0 },
		"EXEC_MAX_OUTPUT: bad value: want 1 to 4194304 bytes":                      func(c *Config) { c.Command, c.MaxOutput = "true", 5<<20 },
		"EXEC_CONCURRENCY: bad value: want 1 to 256":                               func(c *Config) { c.Command, c.Concurrency = "true", 0 },
	} {
		_, err := New(with(edit))
		require.EqualError(t, err, want)
	}
}

func TestAProgramThatIsGoneIsTriedAgain(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700))
	h := newExec(t, with(func(c *Config) { c.Command, c.Dir = "./program secret", dir }))
	_, err := h(t.Context(), eventtest.Sample(event.Update))
	require.NoError(t, err)
	require.NoError(t, os.Remove(program))
	_, err = h(t.Context(), eventtest.Sample(event.Update))
	require.EqualError(t, err, "program cannot be started: no such file or directory")
}

func TestARehearsalRunsNothing(t *testing.T) {
	dir := t.TempDir()
	e := eventtest.Sample(event.Update)
	for want, edit := range map[string]func(*Config){
		"run touch with 1 argument, with the event on its stdin":  func(c *Config) { c.Command = "touch secret" },
		"run touch with 2 arguments, with the event on its stdin": func(c *Config) { c.Command = "touch secret b" },
		"run a line of shell, with the event on its stdin":        func(c *Config) { c.Shell = "touch secret" },
	} {
		cfg := with(edit)
		cfg.Dir = dir
		var said string
		got, err := newExec(t, cfg)(event.Rehearse(t.Context(), func(text string) { said += text }), e)
		require.NoError(t, err)
		require.Equal(t, e, *got)
		require.Equal(t, want, said)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// What a word is quoted as, it is read as; any text is words or an error.
func FuzzSplit(f *testing.F) {
	f.Add(`a 'b c' "d\"e" f\ g`)
	f.Add(`'`)
	f.Add(`\`)
	f.Fuzz(func(t *testing.T, text string) {
		words, err := split(text)
		if err != nil {
			return
		}
		require.NotEmpty(t, words[0])
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, "'"+strings.ReplaceAll(w, "'", `'\''`)+"'")
		}
		again, err := split(strings.Join(quoted, " "))
		require.NoError(t, err)
		require.Equal(t, words, again)
	})
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte(`{"a":1}`), "application/json")
	f.Add([]byte("\xff"), "text/plain")
	f.Fuzz(func(t *testing.T, stdout []byte, contentType string) {
		p, err := payload(stdout, contentType)
		if err != nil || p == nil {
			return
		}
		raw, err := json.Marshal(event.Change{Action: event.Add, Object: json.RawMessage("{}"), Payload: p})
		require.NoError(t, err)
		var back event.Change
		require.NoError(t, json.Unmarshal(raw, &back))
	})
}
