package e2e

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	oldToken = "0ld-t0ken-0ld-t0ken-0ld"
	newToken = "n3w-t0ken-n3w-t0ken-n3w"
)

func TestHopsWithATokenThatIsRenewed(t *testing.T) {
	c := newCluster(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(path+".new", path))
		return path
	}
	token, tokens := write("token", oldToken+"\n"), write("tokens", oldToken+"\n")
	log, logProcess := startFunction(t, "log", "TOKEN_FILE="+tokens, "LOG_FORMAT=text")
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "not for "+r.Header.Get("Authorization"), http.StatusForbidden)
	}))
	t.Cleanup(refuses.Close)
	file := filepath.Join(dir, "change.jsonl")
	w := c.startWatcher("KW_HANDLERS="+log, "KW_RESOURCES=configmaps", "KW_TOKEN_FILE="+token, "KW_RECORD="+file)
	c.create(configMaps, configMap("first", nil))
	eventually(t, func() bool { return strings.Contains(logProcess.stdout.String(), "first") }, "it arrives")

	// Both are taken while one takes the place of the other, and nothing is started anew.
	write("tokens", oldToken+"\n"+newToken+"\n")
	request := func(token string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, log, nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	eventually(t, func() bool { return request(newToken) == http.StatusBadRequest }, "the new one is taken: no event")
	var mu sync.Mutex
	given := map[string]bool{}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		given[r.Header.Get("Authorization")] = true
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(front.Close)
	other := c.startWatcher("K_SINK="+front.URL, "KW_RESOURCES=configmaps", "KW_TOKEN_FILE="+token)
	write("token", newToken)
	eventually(t, func() bool {
		c.patch(configMaps, "first", `{"data":{"a":"`+rand.Text()+`"}}`)
		mu.Lock()
		defer mu.Unlock()
		return given["Bearer "+newToken]
	}, "the renewed token is sent, to a sink, too")
	write("tokens", newToken+"\n")
	eventually(t, func() bool { return request(oldToken) == http.StatusUnauthorized }, "the old one is taken no longer")
	c.create(configMaps, configMap("second", nil))
	eventually(t, func() bool { return strings.Contains(logProcess.stdout.String(), "second") }, "it arrives")
	write("token", "")
	eventually(t, func() bool {
		c.patch(configMaps, "second", `{"data":{"a":"`+rand.Text()+`"}}`)
		return w.stderr.find("token not renewed") != nil
	}, "a file that is of no use is said")
	c.create(configMaps, configMap("third", nil))
	eventually(t, func() bool { return strings.Contains(logProcess.stdout.String(), "third") }, "what was read before is sent")
	require.Equal(t, 0, other.stop())
	require.Equal(t, 0, w.stop())
	for _, said := range []string{w.stderr.String(), other.stderr.String(), logProcess.stderr.String(), logProcess.stdout.String()} {
		require.NotContains(t, said, newToken)
		require.NotContains(t, said, oldToken)
	}
	write("token", newToken)

	// Whoever sends otherwise has it as well; who has none is refused for good.
	code, stdout, _ := runToEnd(t, "watcher", []string{"send", log}, []string{"KW_TOKEN_FILE=" + token})
	require.Equal(t, 0, code, stdout)
	code, stdout, _ = runToEnd(t, "watcher", []string{"send", log}, nil)
	require.Equal(t, 1, code)
	require.Contains(t, stdout, "answered 401: the request has no token")
	code, stdout, _ = runToEnd(t, "watcher", []string{"send", refuses.URL}, []string{"KW_TOKEN_FILE=" + token})
	require.Equal(t, 1, code)
	require.Contains(t, stdout, "answered 403: not for Bearer (hidden)")
	code, _, stderr := runToEnd(t, "watcher", []string{"replay", file}, []string{"KW_HANDLERS=" + log, "KW_TOKEN_FILE=" + token})
	require.Equal(t, 0, code, stderr)
}

func TestATokenThatCannotBeUsedStopsTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(oldToken+"\n"+newToken), 0o600))
	for name, c := range map[string]struct {
		program string
		env     []string
		want    string
	}{
		"several lines": {"watcher", []string{"KW_HANDLERS=https://localhost:1", "KW_TOKEN_FILE=" + path}, "watcher: KW_TOKEN_FILE: the file holds several lines: want one, with the token\n"},
		"no file":       {"watcher", []string{"KW_HANDLERS=https://localhost:1", "KW_TOKEN_FILE=" + path + "s"}, "watcher: KW_TOKEN_FILE: cannot be read: no such file or directory\n"},
		"of a function": {"diff", []string{"TOKEN_FILE=" + path + "s"}, "diff: TOKEN_FILE: cannot be read: no such file or directory\n"},
	} {
		code, _, stderr := runToEnd(t, c.program, nil, append(c.env, "PORT=0"))
		require.Equal(t, 1, code, name)
		require.Equal(t, c.want, stderr, name)
	}
}
