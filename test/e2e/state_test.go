package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// again starts a program once more as it was, with further settings.
func (p *process) again(env ...string) *process {
	p.t.Helper()
	next := startWith(p.t, p.name, p.cmd.Args[1:], append(p.cmd.Env, env...)...)
	next.await("ready")
	return next
}

func TestARestartedWatcherTellsWhatChangedMeanwhile(t *testing.T) {
	c := newCluster(t)
	sink := record(t, nil)
	c.create(configMaps, configMap("old", map[string]any{"n": "0"}))
	c.create(configMaps, configMap("gone", nil))
	c.create(configMaps, configMap("again", nil))
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+t.TempDir())
	c.patch(configMaps, "old", `{"data":{"n":"1"}}`)
	sink.await(t, "old", 1)
	require.Equal(t, 0, w.stop())

	c.patch(configMaps, "old", `{"data":{"n":"2"}}`)
	c.patch(configMaps, "old", `{"data":{"n":"3"}}`)
	c.delete(configMaps, "gone")
	c.delete(configMaps, "again")
	c.create(configMaps, configMap("again", nil))
	c.create(configMaps, configMap("new", nil))
	w.again()
	sink.await(t, "new", 1)
	sink.await(t, "again", 2)
	require.Equal(t, []event.Action{event.Update, event.Update, event.Update}, actions(sink.await(t, "old", 3)))
	require.Equal(t, []event.Action{event.Delete}, actions(sink.await(t, "gone", 1)))
	require.Equal(t, []event.Action{event.Delete, event.Add}, actions(sink.got("again")))
	require.Equal(t, []event.Action{event.Add}, actions(sink.got("new")))
	require.Len(t, sink.got(""), 7, "nothing else")
	require.Contains(t, string(sink.got("old")[1].OldObject), `"n":"1"`)
	require.Contains(t, string(sink.got("old")[2].OldObject), `"n":"2"`)
	for _, e := range sink.got("") {
		require.Equal(t, event.ViaWatch, e.Via)
	}
}

func TestASecretsHashStaysTheSameOverARestart(t *testing.T) {
	c := newCluster(t)
	sink := recordRaw(t)
	rotate := func(value string) {
		c.patch(secrets, "login", `{"stringData":{"password":"`+value+`"}}`)
	}
	c.create(secrets, object("v1", "Secret", "login", map[string]any{"stringData": map[string]any{"password": "hunter2hunter2"}}))
	dir := t.TempDir()
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=secrets", "KW_STATE_DIR="+dir)
	require.Equal(t, 0, w.stop())
	c.patch(secrets, "login", `{"metadata":{"labels":{"a":"b"}}}`)
	rotate("correct-horse")
	w = w.again()
	eventually(t, func() bool { return strings.Count(sink.String(), "Ce-Type") >= 2 }, "both changes")
	require.Equal(t, 0, w.stop())
	posts := strings.Split(sink.String(), "POST / ")[1:]
	require.Len(t, posts, 2)
	hashes := func(post string) []string {
		var out []string
		for _, part := range strings.Split(post, "redacted:")[1:] {
			out = append(out, part[:8])
		}
		return out
	}
	label := hashes(posts[0])
	require.Len(t, label, 2)
	require.Equal(t, label[0], label[1], "only the label changed, and the key of the hash is kept")
	rotated := hashes(posts[1])
	require.Len(t, rotated, 2)
	require.NotEqual(t, rotated[0], rotated[1])
	file, err := os.ReadFile(filepath.Join(dir, "state.db"))
	require.NoError(t, err)
	for _, value := range []string{"hunter2hunter2", "correct-horse"} {
		for _, text := range []string{value, base64.StdEncoding.EncodeToString([]byte(value))} {
			require.NotContains(t, sink.String()+w.stderr.String(), text)
			require.NotContains(t, string(file), text)
		}
	}
}

func TestWhatIsTakenOutIsForgottenAndWhatIsNewGetsABaseline(t *testing.T) {
	c := newCluster(t)
	other := newCluster(t) // its namespace is another one
	sink := record(t, nil)
	for _, in := range []*cluster{c, other} {
		in.create(configMaps, configMap("a", map[string]any{"n": "0"}))
		in.create(roles, object("rbac.authorization.k8s.io/v1", "Role", "r", nil))
	}
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+t.TempDir())
	require.Equal(t, 0, w.stop())

	// A resource and a namespace are added.
	c.patch(configMaps, "a", `{"data":{"n":"1"}}`)
	both := "KW_NAMESPACE=" + c.namespace + "," + other.namespace
	w = w.again("KW_RESOURCES=cm,roles", both)
	sink.await(t, "a", 1)
	other.patch(configMaps, "a", `{"data":{"n":"1"}}`)
	sink.await(t, "a", 2)
	c.patch(roles, "r", `{"metadata":{"labels":{"a":"b"}}}`)
	sink.await(t, "r", 1)
	require.Equal(t, 0, w.stop())
	require.Len(t, sink.got(""), 3, "no flood")

	// Both are taken out, and come back.
	c.delete(roles, "r")
	other.delete(configMaps, "a")
	w = w.again("KW_RESOURCES=cm", "KW_NAMESPACE="+c.namespace)
	c.patch(configMaps, "a", `{"data":{"n":"2"}}`)
	sink.await(t, "a", 3)
	require.Contains(t, w.stderr.String(), "no longer watched")
	require.Equal(t, 0, w.stop())
	other.create(configMaps, configMap("new", nil))
	w = w.again("KW_RESOURCES=cm,roles", both)
	c.patch(configMaps, "a", `{"data":{"n":"3"}}`)
	sink.await(t, "a", 4)
	require.Equal(t, 0, w.stop())
	require.Len(t, sink.got(""), 5, "no Delete of what was taken out, no Add of what came back")
}

func TestOneNamespaceInsteadOfAllGoesOnWithoutAList(t *testing.T) {
	c := newCluster(t)
	sink := record(t, nil)
	c.create(configMaps, configMap("a", map[string]any{"n": "0"}))
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+t.TempDir(), "KW_NAMESPACE=")
	require.Equal(t, 0, w.stop())
	c.patch(configMaps, "a", `{"data":{"n":"1"}}`)
	c.patch(configMaps, "a", `{"data":{"n":"2"}}`)
	w = w.again("KW_NAMESPACE=" + c.namespace)
	require.Len(t, sink.await(t, "a", 2), 2)
	require.Equal(t, event.ViaWatch, sink.got("a")[0].Via)
	require.Equal(t, 0, w.stop())

	c.patch(configMaps, "a", `{"data":{"n":"3"}}`)
	c.create(configMaps, configMap("b", nil))
	other := newCluster(t)
	other.create(configMaps, configMap("elsewhere", nil))
	w = w.again("KW_NAMESPACE=")
	sink.await(t, "a", 3)
	sink.await(t, "b", 1)
	require.Equal(t, 0, w.stop())
	require.Empty(t, sink.got("elsewhere"), "a namespace that was not watched gets a baseline")
}

func TestOtherSelectorsDeleteNothing(t *testing.T) {
	c := newCluster(t)
	sink := record(t, nil)
	for _, name := range []string{"a", "b"} {
		cm := configMap(name, map[string]any{"n": "0"})
		cm.SetLabels(map[string]string{"app": name, "tier": "x"})
		c.create(configMaps, cm)
	}
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+t.TempDir(), "KW_LABEL_SELECTOR=tier=x")
	require.Equal(t, 0, w.stop())
	c.patch(configMaps, "a", `{"data":{"n":"1"}}`)
	c.patch(configMaps, "b", `{"data":{"n":"1"}}`)
	w = w.again("KW_LABEL_SELECTOR=app=a")
	e := sink.await(t, "a", 1)[0]
	require.Contains(t, string(e.OldObject), `"n":"0"`)
	require.Equal(t, event.ViaRelist, e.Via)
	require.Contains(t, w.stderr.String(), "the selectors have changed")
	require.Equal(t, 0, w.stop())
	require.Len(t, sink.got(""), 1)
}

func TestACustomResourceIsFollowedOverARestart(t *testing.T) {
	c := crontabs{cluster: newCluster(t)}
	c.group = c.namespace + ".example.com"
	t.Cleanup(func() { c.deleteCluster(crds, "crontabs."+c.group) })
	sink := record(t, nil)
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=cm,crontabs."+c.group, "KW_STATE_DIR="+t.TempDir())
	require.Equal(t, 0, w.stop())

	c.define(map[string]bool{"v1": true}) // while it is down
	c.create(c.in("v1"), c.tab("v1", "late", "1"))
	w = w.again()
	require.Equal(t, []event.Action{event.Add}, actions(sink.await(t, "late", 1)))
	require.Equal(t, 0, w.stop())

	c.reschedule("v1", "late", "2")
	c.define(map[string]bool{"v1": false, "v2": true})
	w = w.again()
	changed := sink.await(t, "late", 2)[1]
	require.Equal(t, c.group+"/v2", changed.APIVersion)
	require.Contains(t, string(changed.OldObject), `"schedule":"1"`)
	require.Equal(t, 0, w.stop())

	c.undefine() // while it is down
	w = w.again()
	require.Equal(t, []event.Action{event.Add, event.Update, event.Delete}, actions(sink.await(t, "late", 3)))
	c.define(map[string]bool{"v1": true})
	c.create(c.in("v1"), c.tab("v1", "late", "3"))
	require.Equal(t, event.Add, sink.await(t, "late", 4)[3].Action)
	require.Equal(t, 0, w.stop())
	require.Len(t, sink.got(""), 4)
}

func TestAServedVersionStaysInUseOverARestart(t *testing.T) {
	c := crontabs{cluster: newCluster(t)}
	c.group = c.namespace + ".example.com"
	t.Cleanup(func() { c.deleteCluster(crds, "crontabs."+c.group) })
	c.define(map[string]bool{"v1": true})
	c.create(c.in("v1"), c.tab("v1", "tab", "1"))
	sink := record(t, nil)
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=crontabs."+c.group, "KW_STATE_DIR="+t.TempDir())
	require.Equal(t, 0, w.stop())
	c.define(map[string]bool{"v1": true, "v2": true}) // v2 is the one that is preferred now
	c.reschedule("v1", "tab", "2")
	c.reschedule("v1", "tab", "3")
	w = w.again()
	schedule := func() string {
		got := sink.got("tab")
		if len(got) == 0 {
			return ""
		}
		return string(got[len(got)-1].Object)
	}
	eventually(t, func() bool { return strings.Contains(schedule(), `"schedule":"3"`) }, "the last state")
	require.Equal(t, 0, w.stop())
	for _, e := range sink.got("tab") {
		require.Equal(t, c.group+"/v1", e.APIVersion)
	}
	if len(sink.got("tab")) < 2 { // the API server has no history of a resource whose definition changed
		require.Contains(t, w.stderr.String(), "changes in between are merged")
	}
}

func TestCheckTellsOfTheStateWhatAStartWould(t *testing.T) {
	c := newCluster(t)
	sink := record(t, nil)
	dir := t.TempDir()
	w := c.startWatcher("KW_HANDLERS="+sink.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+dir)
	check := func(env ...string) (int, string) {
		t.Helper()
		code, out, _ := runToEnd(t, "watcher", []string{"check"}, append(append([]string{}, w.cmd.Env...), env...))
		return code, out
	}
	code, out := check()
	require.Equal(t, 0, code, out)
	require.Regexp(t, `state +`+dir+` +ok, in use by a watcher`, out)
	require.Equal(t, 0, w.stop())
	code, out = check()
	require.Equal(t, 0, code, out)
	require.Regexp(t, `state +`+dir+` +ok, waiting changes: 0`, out)
	require.Regexp(t, `dead letter +`+dir+`/dead-letter.jsonl +file +ok`, out)
	code, out = check("KW_STATE_DIR=" + filepath.Join(t.TempDir(), "new", "folder"))
	require.Equal(t, 0, code, out)
	require.Contains(t, out, "ok, none yet: it begins with a baseline")

	pipe := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(pipe, "state.db"), 0o600))
	empty := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(empty, "state.db"), nil, 0o600))
	for _, tc := range []struct{ env, want string }{
		{"KW_STATE_DIR=/dev/null", "PROBLEM: KW_STATE_DIR: /dev/null"},
		{"KW_STATE_DIR=" + pipe, "is no regular file"},
		{"KW_STATE_DIR=" + empty, "is damaged (it is empty)"},
		{"KW_DEAD_LETTER=" + dir + "/state.db", "is the state itself: want another file"},
		{"KW_DEAD_LETTER=http://127.0.0.1:1/very-secret-token", "dead letter    http://127.0.0.1:1"},
	} {
		code, out = check(tc.env)
		require.Equal(t, 1, code, out)
		require.Contains(t, out, tc.want)
		require.NotContains(t, out, "very-secret-token")
		if strings.HasPrefix(tc.env, "KW_DEAD_LETTER=http") {
			continue // it may be back when it is needed
		}
		code, _, stderr := runToEnd(t, "watcher", nil, append(append([]string{}, w.cmd.Env...), tc.env))
		require.Equal(t, 1, code)
		require.Equal(t, 1, strings.Count(stderr, "\n"), "a start says so in one line: %s", stderr)
	}
}

func TestAStopHandsBackWhatWaitsAndAnotherRunDeliversIt(t *testing.T) {
	c := newCluster(t)
	entered, release := make(chan string, 100), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- r.Header.Get("Ce-Name")
		<-release
		w.WriteHeader(http.StatusNoContent)
	}))
	defer slow.Close()
	w := c.startWatcher("KW_HANDLERS="+slow.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+t.TempDir(), "KW_CONCURRENCY=1")
	for _, name := range []string{"a", "b", "c"} {
		c.create(configMaps, configMap(name, nil))
	}
	first := <-entered
	require.NoError(t, w.cmd.Process.Signal(syscall.SIGTERM))
	w.await("stopping")
	close(release)
	require.Equal(t, 0, w.wait())
	require.NotContains(t, w.stderr.String(), "changes lost")

	sink := record(t, nil)
	w = w.again("KW_HANDLERS=" + sink.URL)
	for _, name := range []string{"a", "b", "c"} {
		if name != first {
			sink.await(t, name, 1)
		}
	}
	require.Equal(t, 0, w.stop())
	require.Len(t, sink.got(""), 2, "what was in flight came to its end")
}

func TestASecondSignalEndsAtOnce(t *testing.T) {
	c := newCluster(t)
	entered := make(chan struct{}, 1)
	quit := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case entered <- struct{}{}:
		default:
		}
		<-quit
	}))
	defer hanging.Close()
	defer close(quit)
	w := c.startWatcher("KW_HANDLERS="+hanging.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+t.TempDir(), "KW_TIMEOUT=10m")
	c.create(configMaps, configMap("a", nil))
	<-entered
	require.NoError(t, w.cmd.Process.Signal(syscall.SIGTERM))
	w.await("stopping")
	begin := time.Now()
	require.NoError(t, w.cmd.Process.Signal(syscall.SIGTERM))
	require.NotEqual(t, 0, w.wait())
	require.Less(t, time.Since(begin), 10*time.Second, "not after the grace period")

	sink := record(t, nil)
	w.again("KW_HANDLERS=" + sink.URL)
	sink.await(t, "a", 1)
}

// letterBox is a dead letter at a URL.
type letterBox struct {
	*recorder
	refuse atomic.Bool
}

func newLetterBox(t *testing.T) *letterBox {
	b := &letterBox{recorder: &recorder{}}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.refuse.Load() {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		e, err := event.Decode(r.Header, body)
		if err != nil {
			t.Error(err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.events = append(b.events, e)
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(b.Close)
	return b
}

func TestWhatIsGivenUpGoesToTheDeadLetterWithTheInputOfItsStep(t *testing.T) {
	c := newCluster(t)
	diff, _ := startFunction(t, "diff")
	wrong := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no such thing", http.StatusUnprocessableEntity)
	}))
	defer wrong.Close()
	box := newLetterBox(t)
	box.refuse.Store(true)
	w := c.startWatcher("KW_HANDLERS="+diff+","+wrong.URL+"/services/very-secret-token", "KW_RESOURCES=cm",
		"KW_DEAD_LETTER="+box.URL+"/very-secret-token", "KW_RETRY_WAIT_MIN=10ms", "KW_RETRY_WAIT_MAX=50ms", "KW_STATE_DIR="+t.TempDir())
	c.create(configMaps, configMap("a", nil))
	w.await("dead letter fails, the change stays in the queue")
	w.kill() // it is still in the queue
	w = w.again()
	w.await("dead letter fails, the change stays in the queue")
	box.refuse.Store(false)
	e := box.await(t, "a", 1)[0]
	require.Equal(t, wrong.URL, e.Extensions["knativeerrordest"])
	require.Equal(t, "422", e.Extensions["knativeerrorcode"])
	text, err := base64.StdEncoding.DecodeString(e.Extensions["knativeerrordata"])
	require.NoError(t, err)
	require.Equal(t, "answered 422: no such thing", string(text))
	require.Equal(t, "2", e.Extensions["kwatchmanstep"])
	require.Equal(t, "1", e.Extensions["kwatchmanattempts"])
	require.NotNil(t, e.Diff, "the input of the step that failed")
	w.await("change not delivered")
	require.Equal(t, box.URL, w.stderr.find("change not delivered")["deadLetter"])
	require.Equal(t, 0, w.stop())
	require.NotContains(t, w.stderr.String(), "very-secret-token")
	w = w.again()
	require.Equal(t, 0, w.stop())
	require.Len(t, box.got("a"), 1, "it is done")
}

func TestRetriesThatEndLeadToTheDeadLetterAndReplayGoesOnFromTheStep(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	first, last := record(t, nil), record(t, nil)
	var failing atomic.Bool
	failing.Store(true)
	flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if failing.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		event.Handler(func(_ context.Context, e event.Event) (*event.Event, error) { return &e, nil }).ServeHTTP(w, r)
	}))
	defer flaky.Close()
	env := []string{
		"KW_HANDLERS=" + first.URL + "," + flaky.URL + "," + last.URL, "KW_RESOURCES=cm", "KW_STATE_DIR=" + dir,
		"KW_RETRY_MAX=2", "KW_RETRY_WAIT_MIN=10ms", "KW_RETRY_WAIT_MAX=20ms",
	}
	w := c.startWatcher(env...)
	c.create(configMaps, configMap("a", map[string]any{"n": "0"}))
	c.patch(configMaps, "a", `{"data":{"n":"1"}}`)
	path := filepath.Join(dir, "dead-letter.jsonl")
	eventually(t, func() bool { _, err := os.Stat(path); return err == nil && len(letters(t, path)) == 2 }, "both are given up")
	in := letters(t, path)
	for _, m := range in {
		require.Equal(t, "503", m["knativeerrorcode"])
		require.Equal(t, "3", m["kwatchmanattempts"])
		require.Equal(t, "1.0", m["specversion"])
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	// Beside the running watcher; still failing, then mended.
	moved := filepath.Join(dir, "replay.jsonl")
	require.NoError(t, os.Rename(path, moved))
	code, out, stderr := runToEnd(t, "watcher", []string{"replay", moved}, w.cmd.Env)
	require.Equal(t, 1, code)
	require.Equal(t, "0 of 2 events delivered or stopped by a step, 2 given up again, 0 not delivered\n", out)
	require.Contains(t, stderr, "watcher: replay: 2 of 2 events were given up again; they are in "+path+" now")
	require.Len(t, letters(t, path), 2, "and in the dead letter anew")
	code, _, stderr = runToEnd(t, "watcher", []string{"replay", path}, w.cmd.Env)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "they are still in "+path)
	require.Len(t, letters(t, path), 2, "the dead letter itself does not double")
	failing.Store(false)
	code, out, stderr = runToEnd(t, "watcher", []string{"replay", moved}, w.cmd.Env)
	require.Equal(t, 0, code, stderr)
	require.Equal(t, "2 of 2 events delivered or stopped by a step, 0 given up again, 0 not delivered\n", out)
	require.Equal(t, []event.Action{event.Add, event.Update}, actions(last.got("a")), "in order")
	require.Len(t, first.got("a"), 2, "the steps before are not repeated")
	for _, e := range last.got("a") {
		for name := range e.Extensions {
			require.False(t, strings.HasPrefix(name, "knative") || strings.HasPrefix(name, "kwatchman"), name)
		}
	}
	require.Equal(t, 0, w.stop())
}

func TestWithoutAStateAStopPutsWhatIsLeftIntoTheDeadLetter(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the grace period of a stop")
	}
	c := newCluster(t)
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "300")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer down.Close()
	path := filepath.Join(t.TempDir(), "letters")
	w := c.startWatcher("KW_HANDLERS="+down.URL, "KW_RESOURCES=cm", "KW_DEAD_LETTER="+path)
	c.create(configMaps, configMap("a", nil))
	w.await("step fails, trying again")
	require.Equal(t, 0, w.stop())
	in := letters(t, path)
	require.Len(t, in, 1)
	require.Equal(t, "-1", in[0]["knativeerrorcode"])
	require.Contains(t, w.stderr.String(), "changes lost")
}

func TestAReplayThatCannotBeIsOneLine(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	sink := record(t, nil)
	good, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": "u.1.add", "source": "/clusters/c", "type": "dev.kwatchman.resource.add",
		"subject": "/api/v1/namespaces/a/configmaps/b", "time": "2026-11-24T00:00:00Z", "datacontenttype": "application/json",
		"cluster": "c", "apiversion": "v1", "kind": "ConfigMap", "namespace": "a", "name": "b",
		"partitionkey": "/api/v1/namespaces/a/configmaps/b", "via": "watch",
		"knativeerrordest": "http://elsewhere:80", "kwatchmanstep": "2",
		"data": map[string]any{"action": "Add", "object": map[string]any{"secret": "hunter2"}, "changedBy": []any{}},
	})
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no file":          {nil, "replay: want one FILE (see replay --help)"},
		"two files":        {[]string{"a", "b"}, "replay: want one FILE (see replay --help)"},
		"not there":        {[]string{filepath.Join(dir, "nothing")}, "nothing: no such file or directory"},
		"a folder":         {[]string{dir}, "is no regular file"},
		"no event":         {[]string{file("other.jsonl", `{"hello":"hunter2"}`+"\n")}, "other.jsonl: line 1 is no event of kwatchman: "},
		"another chain":    {[]string{file("good.jsonl", string(good)+"\n")}, `it failed at step 2 ("http://elsewhere:80"), which the configured chain does not have`},
		"a step too many":  {[]string{"--step", "2", file("good.jsonl", string(good)+"\n")}, "--step 2: the chain has fewer steps"},
		"a step of none":   {[]string{"--step", "0", file("good.jsonl", string(good)+"\n")}, "--step: bad value: want 1 for the first step, or more"},
		"a step that is a": {[]string{"--step", "a", "x"}, "--step: bad value: want 1 for the first step, or more"},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := runToEnd(t, "watcher", append([]string{"replay"}, tc.args...), []string{"KW_HANDLERS=" + sink.URL})
			require.Equal(t, 1, code)
			require.Empty(t, stdout)
			require.Contains(t, stderr, tc.want)
			require.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
			require.NotContains(t, stderr, "hunter2")
		})
	}
	require.Empty(t, sink.got(""), "nothing is sent")
	cut := file("cut.jsonl", string(good)+"\n"+string(good)[:100]+"\n"+string(good)+"\n")
	code, stdout, stderr := runToEnd(t, "watcher", []string{"replay", "--step=1", cut}, []string{"KW_HANDLERS=" + sink.URL})
	require.Equal(t, 1, code, "and && rm removes nothing")
	require.Equal(t, "2 of 2 events delivered or stopped by a step, 0 given up again, 0 not delivered, and lines that are no events: 1\n", stdout)
	require.Contains(t, stderr, "watcher: replay: lines of "+cut+" that are no events: 1; the log names them\n")
	require.Len(t, sink.got("b"), 2)
}
