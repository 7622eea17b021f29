package slack

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	botToken = "xoxb-0000-secret-token"
	changes  = "C0CHANGES1"
)

// workspace is the Web API of Slack: channels, their history with threads and
// metadata, and files.
type workspace struct {
	t        *testing.T
	url      string
	mu       sync.Mutex
	channels map[string]string // id by name
	posted   []*post           // oldest first
	calls    map[string]int
	uploads  map[string]*uploaded
	pageSize int  // of messages
	listed   int  // channels on a page
	forgets  bool // the metadata
	// refuse may answer a call by itself: with the name of an error or a status.
	refuse map[string]func(w http.ResponseWriter, call int) bool
}

type post struct {
	Channel, TS, Thread string
	Form                url.Values
	Metadata            map[string]any
	Files               []map[string]any
	Replies             int
}

type uploaded struct{ name, content string }

func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	w := &workspace{
		t: t, channels: map[string]string{"changes": changes, "team-shop": "C0TEAMSHOP"}, calls: map[string]int{},
		uploads: map[string]*uploaded{}, pageSize: 100, listed: 100, refuse: map[string]func(http.ResponseWriter, int) bool{},
	}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func (w *workspace) config() Config {
	return Config{Token: botToken, Channel: "#changes", Threads: true, ApiURL: w.url + "/api"}
}

func (w *workspace) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/api/")
	w.calls[name]++
	if f := w.refuse[name]; f != nil && f(rw, w.calls[name]) {
		return
	}
	if id, ok := strings.CutPrefix(name, "/upload/"); ok {
		file, _, err := r.FormFile("file")
		if err != nil {
			http.Error(rw, "no file", http.StatusBadRequest)
			return
		}
		content, _ := io.ReadAll(file)
		w.uploads[id].content = string(content)
		return
	}
	if r.ParseForm() != nil || r.Form.Get("token") != botToken {
		w.answer(rw, map[string]any{"ok": false, "error": "invalid_auth"})
		return
	}
	methods := map[string]func(url.Values) map[string]any{
		"conversations.list": w.list, "conversations.history": w.history, "conversations.replies": w.replies,
		"chat.postMessage": w.postMessage, "files.getUploadURLExternal": w.uploadURL, "files.completeUploadExternal": w.complete,
	}
	method := methods[name]
	if method == nil {
		w.answer(rw, map[string]any{"ok": false, "error": "unknown_method"})
		return
	}
	w.answer(rw, method(r.Form))
}

func (w *workspace) answer(rw http.ResponseWriter, v map[string]any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v)
}

// refusing answers every call, or the calls that which lists, with an error.
func refusing(word string, which ...int) func(http.ResponseWriter, int) bool {
	return func(rw http.ResponseWriter, call int) bool {
		for _, n := range which {
			if n == call {
				_, _ = fmt.Fprintf(rw, `{"ok":false,"error":%q}`, word)
				return true
			}
		}
		if len(which) == 0 {
			_, _ = fmt.Fprintf(rw, `{"ok":false,"error":%q}`, word)
		}
		return len(which) == 0
	}
}

func (w *workspace) list(f url.Values) map[string]any {
	names := slices.Sorted(maps.Keys(w.channels))
	from, _ := strconv.Atoi(f.Get("cursor"))
	to, next := min(from+w.listed, len(names)), ""
	if to < len(names) {
		next = strconv.Itoa(to)
	}
	var out []map[string]any
	for _, name := range names[from:to] {
		out = append(out, map[string]any{"id": w.channels[name], "name": name})
	}
	return map[string]any{"ok": true, "channels": out, "response_metadata": map[string]any{"next_cursor": next}}
}

// page cuts a list as Slack does, with the index as cursor.
func (w *workspace) page(f url.Values, all []map[string]any) map[string]any {
	from, _ := strconv.Atoi(f.Get("cursor"))
	to, next := min(from+w.pageSize, len(all)), ""
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return map[string]any{
		"ok": true, "messages": all[from:to], "has_more": next != "",
		"response_metadata": map[string]any{"next_cursor": next},
	}
}

func (w *workspace) history(f url.Values) map[string]any {
	var out []map[string]any
	for i := len(w.posted) - 1; i >= 0; i-- {
		if p := w.posted[i]; p.Channel == f.Get("channel") && p.Thread == "" {
			out = append(out, p.message(f))
		}
	}
	return w.page(f, out)
}

func (w *workspace) replies(f url.Values) map[string]any {
	var out []map[string]any
	for _, p := range w.posted {
		if p.Channel == f.Get("channel") && (p.TS == f.Get("ts") || p.Thread == f.Get("ts")) {
			out = append(out, p.message(f))
		}
	}
	return w.page(f, out)
}

func (p *post) message(f url.Values) map[string]any {
	m := map[string]any{"type": "message", "ts": p.TS, "reply_count": p.Replies, "files": p.Files}
	if p.Thread != "" {
		m["thread_ts"] = p.Thread
	} else if p.Replies > 0 {
		m["thread_ts"] = p.TS
	}
	if f.Get("include_all_metadata") == "1" && p.Metadata != nil {
		m["metadata"] = p.Metadata
	}
	if blocks := p.Form.Get("blocks"); blocks != "" {
		m["blocks"] = json.RawMessage(blocks)
	}
	return m
}

func (w *workspace) add(p *post) *post {
	p.TS = fmt.Sprintf("1795339801.%06d", len(w.posted)+1)
	for _, other := range w.posted {
		if p.Thread != "" && other.TS == p.Thread {
			other.Replies++
		}
	}
	w.posted = append(w.posted, p)
	return p
}

func (w *workspace) postMessage(f url.Values) map[string]any {
	channel := f.Get("channel")
	if id := w.channels[strings.TrimPrefix(channel, "#")]; id != "" {
		channel = id
	}
	known := false
	for _, id := range w.channels {
		known = known || id == channel
	}
	if !known {
		return map[string]any{"ok": false, "error": "channel_not_found"}
	}
	p := &post{Channel: channel, Thread: f.Get("thread_ts"), Form: f}
	if json.Unmarshal([]byte(f.Get("metadata")), &p.Metadata) != nil {
		return map[string]any{"ok": false, "error": "invalid_metadata_format"}
	}
	if w.forgets {
		p.Metadata = nil
	}
	w.add(p)
	return map[string]any{"ok": true, "channel": channel, "ts": p.TS}
}

func (w *workspace) uploadURL(f url.Values) map[string]any {
	id := fmt.Sprintf("F%d", len(w.uploads)+1)
	w.uploads[id] = &uploaded{name: f.Get("filename")}
	return map[string]any{"ok": true, "upload_url": w.url + "/upload/" + id, "file_id": id}
}

func (w *workspace) complete(f url.Values) map[string]any {
	var files []struct{ ID, Title string }
	if json.Unmarshal([]byte(f.Get("files")), &files) != nil || len(files) != 1 {
		return map[string]any{"ok": false, "error": "invalid_arguments"}
	}
	file := map[string]any{"id": files[0].ID, "name": w.uploads[files[0].ID].name, "title": files[0].Title}
	w.add(&post{Channel: f.Get("channel_id"), Thread: f.Get("thread_ts"), Form: f, Files: []map[string]any{file}})
	return map[string]any{"ok": true, "files": []any{file}}
}

// messages are the posts as JSON of a webhook would be, without the files.
func (w *workspace) messages() []map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []map[string]string
	for _, p := range w.posted {
		if len(p.Files) > 0 {
			continue
		}
		requireShowable(w.t, []byte(fmt.Sprintf(`{"text":%s,"blocks":%s}`, asText(p.Form.Get("text")), p.Form.Get("blocks"))))
		out = append(out, map[string]string{"channel": p.Channel, "ts": p.TS, "thread": p.Thread, "text": p.Form.Get("text")})
	}
	return out
}

func (w *workspace) files() []uploaded {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []uploaded
	for _, p := range w.posted {
		for _, f := range p.Files {
			out = append(out, *w.uploads[f["id"].(string)])
		}
	}
	return out
}

func (w *workspace) called(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[name]
}

func asText(s string) string {
	out, _ := json.Marshal(s)
	return string(out)
}

func (w *workspace) requireNoSecret(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		require.NotContains(t, text, botToken)
		require.NotContains(t, text, "secret-token")
	}
}
