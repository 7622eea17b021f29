package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// compact has etcd forget all but the newest state, and the API server what it
// remembers of before.
func (a apiServer) compact() {
	a.t.Helper()
	a.compactTo("")
}

// compactTo has them forget what was before a revision; empty: the newest.
func (a apiServer) compactTo(revision string) {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join(a.dir, "ports.json"))
	require.NoError(a.t, err)
	var ports struct{ EtcdClient int }
	require.NoError(a.t, json.Unmarshal(text, &ports))
	ask := func(path, body string) []byte {
		resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/v3/kv/%s", ports.EtcdClient, path), "application/json", bytes.NewBufferString(body))
		require.NoError(a.t, err)
		defer func() { _ = resp.Body.Close() }()
		var out bytes.Buffer
		_, err = out.ReadFrom(resp.Body)
		require.NoError(a.t, err)
		require.Equal(a.t, http.StatusOK, resp.StatusCode, out.String())
		return out.Bytes()
	}
	var now struct{ Header struct{ Revision string } }
	require.NoError(a.t, json.Unmarshal(ask("range", `{"key":"AA==","limit":"1"}`), &now))
	ask("compaction", fmt.Sprintf(`{"revision":%q,"physical":true}`, cmp.Or(revision, now.Header.Revision)))
	a.stop()
	a.start()
}

// TestFaultTakeoverWithoutHistory has the API server forget the state that the
// leader before has left.
func TestFaultTakeoverWithoutHistory(t *testing.T) {
	faults(t)
	c := newCluster(t)
	api := c.apiServer()
	s := newSink(t, nil)
	c.create(configMaps, configMap("old", map[string]any{"n": "1"}))
	start := func(more ...string) *process {
		w := start(t, "watcher", c.leaseEnv(s.URL, append(more, "KW_RESOURCES=cm")...)...)
		w.await("ready")
		return w
	}
	from := func(w *process, what string) int {
		return int(scrape(t, w.address("serving health")+"/metrics")("kwatchman_takeover_watches_total", "from", what))
	}
	dir := "KW_STATE_DIR=" + t.TempDir()
	w := start(dir)
	c.patch(configMaps, "old", `{"data":{"n":"2"}}`)
	eventually(t, func() bool { return s.has("old", ".update") }, "the first leader sends")
	c.marked("old")
	require.Equal(t, 0, w.stop())

	w = start() // another one, that remembers nothing
	require.Equal(t, 1, from(w, "watermark"))
	c.create(configMaps, configMap("second", nil))
	eventually(t, func() bool { return s.has("second", ".add") }, "the second leader sends")
	c.marked("second")
	require.Equal(t, 0, w.stop())

	c.patch(configMaps, "old", `{"data":{"n":"3"}}`)
	c.create(configMaps, configMap("third", nil))
	api.compact()
	before := len(s.got())
	w = start(dir) // the first one again: what it saw last is out of date, for another one has led
	require.Equal(t, 1, from(w, "baseline"))
	eventually(t, func() bool { return s.has("third", ".add") }, "what was created since is a change")
	for _, a := range s.got()[before:] {
		require.NotEqual(t, "second", a.name, "what the one between has told is not told once more")
	}
	c.marked("third")
	require.Equal(t, 0, w.stop())

	c.patch(configMaps, "old", `{"data":{"n":"4"}}`)
	c.create(configMaps, configMap("fourth", nil))
	api.compact()
	w = start() // one that knows nothing
	require.Equal(t, 1, from(w, "baseline"))
	require.Contains(t, w.stderr.String(), `"comparedWith":"a baseline"`)
	eventually(t, func() bool { return s.has("fourth", ".add") }, "what was created since is a change")

	// One change waits for longer than the API server keeps history: it is lost, which
	// is said, and costs the others nothing.
	s.mend(stuck)
	c.create(configMaps, configMap("stuck", nil))
	eventually(t, func() bool { return w.stderr.find("step fails, trying again") != nil }, "it waits")
	c.patch(configMaps, "old", `{"data":{"n":"5"}}`)
	c.marked("old")
	api.compactTo(c.versionOf("old"))
	w.kill()
	c.patch(configMaps, "old", `{"data":{"n":"6"}}`)
	s.mend(nil)
	before = len(s.got())
	w = start()
	require.Equal(t, 1, from(w, "watermark"))
	line := w.stderr.find("changes that waited at the leader before cannot be read: they are not told, or merged into one")
	require.NotNil(t, line)
	require.Equal(t, c.namespace+"/stuck", line["first"])
	eventually(t, func() bool { return len(s.got()) > before }, "the change since then")
	require.Equal(t, "watch", s.got()[before].via)
	require.Equal(t, "old", s.got()[before].name)
	require.False(t, s.has("stuck", ".add"))
	require.Equal(t, 0, w.stop())
}

// versionOf is that of a ConfigMap now.
func (c *cluster) versionOf(name string) string {
	c.t.Helper()
	o, err := c.client.Resource(configMaps).Namespace(c.namespace).Get(context.Background(), name, metav1.GetOptions{})
	require.NoError(c.t, err)
	return o.GetResourceVersion()
}

// TestFaultTakeoverByAnotherConfiguration has the next leader watch more, and less,
// than the one that is killed.
func TestFaultTakeoverByAnotherConfiguration(t *testing.T) {
	faults(t)
	for name, scopes := range map[string][2]string{
		"a namespace, then all": {"KW_NAMESPACE=%s", "KW_NAMESPACE="},
		"all, then a namespace": {"KW_NAMESPACE=", "KW_NAMESPACE=%s"},
		"other selectors":       {"KW_LABEL_SELECTOR=", "KW_LABEL_SELECTOR=app!=none"},
	} {
		t.Run(name, func(t *testing.T) {
			const objects = 20
			c := newCluster(t)
			l, s := newLedger(c), newSink(t, nil)
			l.createAll(t, objects)
			l.baseline()
			scope := func(i int) string { return strings.Replace(scopes[i], "%s", c.namespace, 1) }
			first := start(t, "watcher", c.leaseEnv(s.URL, "KW_RESOURCES=cm", scope(0))...)
			first.await("ready")
			second := start(t, "watcher", c.leaseEnv(s.URL, "KW_RESOURCES=cm", scope(1))...)
			second.await("standing by")
			changed := make(chan struct{})
			go func() {
				defer close(changed)
				l.updateAll(t, objects, 300, 300*time.Millisecond)
			}()
			eventually(t, func() bool { return len(s.got()) > 50 }, "the first one sends")
			first.kill()
			<-changed
			eventually(t, func() bool { return l.missing(s, false) == 0 }, "everything arrives")
			require.Equal(t, 0, second.stop())
			kept, _ := ordered(t, s.got())
			judged(t, "leader killed, the next one has another configuration", name, l.judge(kept, false))
		})
	}
}
