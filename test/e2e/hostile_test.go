//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

// hostile answers by the name of the object; what it does to one must not harm
// the others.
var hostile = map[string]struct {
	answer func(w http.ResponseWriter, r *http.Request, e event.Event)
	retry  bool   // tried again; else given up
	error  string // in the one line that says so
}{
	"slow-loris": {func(w http.ResponseWriter, r *http.Request, _ event.Event) {
		w.Header().Set("Content-Length", "8000000")
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}, true, "reply broke off: no answer in time"},
	"gigabyte": {func(w http.ResponseWriter, _ *http.Request, _ event.Event) {
		for range 1 << 14 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}, false, "reply is larger than 8388608 bytes"},
	"redirects": {func(w http.ResponseWriter, r *http.Request, _ event.Event) {
		http.Redirect(w, r, r.URL.Path+"x", http.StatusTemporaryRedirect)
	}, false, "answered 307, and redirects are not followed"},
	"content-type": {func(w http.ResponseWriter, _ *http.Request, e event.Event) {
		header, body, _ := event.Encode(&e)
		for name, values := range header {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Type", "image/png")
		_, _ = w.Write(body)
	}, false, "reply breaks the contract"},
	"broken-json": {func(w http.ResponseWriter, _ *http.Request, _ event.Event) {
		w.Header().Set("Content-Type", "application/cloudevents+json")
		_, _ = io.WriteString(w, `{"specversion": "1.0", `)
	}, false, "reply breaks the contract"},
	"garbage": {func(w http.ResponseWriter, _ *http.Request, _ event.Event) {
		_, _ = io.WriteString(w, "\x00\xff\x1b[31m very-secret-token")
	}, false, `neither a CloudEvent nor JSON with "continue"`},
	"another-id": {func(w http.ResponseWriter, _ *http.Request, e event.Event) {
		e.ID = "00000000-0000-4000-8000-000000000000.1.update"
		header, body, _ := event.Encode(&e)
		for name, values := range header {
			w.Header()[name] = values
		}
		_, _ = w.Write(body)
	}, false, "id was changed"},
}

func TestAHostileHandlerHarmsNobody(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e, err := event.Decode(r.Header, body)
		if err != nil {
			t.Errorf("no event: %v", err)
			return
		}
		if h, ok := hostile[e.Name]; ok {
			h.answer(w, r, e)
			return
		}
		_, _ = io.WriteString(w, `{"continue": true}`)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	c, sink, dir := newCluster(t), record(t, nil), t.TempDir()
	w := c.startWatcher("KW_HANDLERS="+server.URL+secretPath+","+sink.URL, "KW_RESOURCES=cm", "KW_STATE_DIR="+dir,
		"KW_TIMEOUT=1s", "KW_RETRY_WAIT_MAX=1s")
	const good = 40
	for round := range 3 {
		for name := range hostile {
			if round == 0 {
				c.create(configMaps, configMap(name, nil))
			} else {
				c.patch(configMaps, name, fmt.Sprintf(`{"data":{"n":"%d"}}`, round))
			}
		}
	}
	for i := range good {
		c.create(configMaps, configMap(fmt.Sprint("good-", i), nil))
	}
	sink.await(t, "", good)
	permanent := 3 * (len(hostile) - 1) // but the slow one, which is tried again
	box := filepath.Join(dir, "dead-letter.jsonl")
	eventually(t, func() bool { return strings.Count(w.stderr.String(), "change not delivered") == permanent }, "all are given up")
	require.Len(t, letters(t, box), permanent)
	w.await("step fails, trying again")
	require.Equal(t, 0, w.stop())
	require.Len(t, sink.got(""), good, "nothing of a hostile answer goes on")

	said := map[string]int{}
	for _, line := range strings.Split(w.stderr.String(), "\n") {
		var m struct{ Msg, Subject, Error string }
		if json.Unmarshal([]byte(line), &m) != nil {
			continue
		}
		switch m.Msg {
		case "change not delivered":
			name := m.Subject[strings.LastIndex(m.Subject, "/")+1:]
			require.Contains(t, m.Error, hostile[name].error, name)
			require.False(t, hostile[name].retry, name)
			require.Less(t, len(line), 1000)
			said[name]++
		case "step fails, trying again":
			require.Contains(t, m.Error, hostile["slow-loris"].error)
			said["slow-loris"]++
		}
	}
	for name, h := range hostile {
		if h.retry {
			require.Positive(t, said[name], "said now and then")
		} else {
			require.Equal(t, 3, said[name], "%s: one line a change", name)
		}
	}
	require.NotContains(t, w.stderr.String(), "very-secret-token")
	peak := memoryAtMost(t, w)
	t.Logf("the watcher took %d MB at most", peak>>20)
	require.Less(t, peak, int64(400<<20), "with the race detector, three answers of a GB and all")
}

// memoryAtMost is the most memory that a process which has ended took, in bytes.
func memoryAtMost(t *testing.T, p *process) int64 {
	t.Helper()
	usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	require.True(t, ok)
	return usage.Maxrss << 10
}
