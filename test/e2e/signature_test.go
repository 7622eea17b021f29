package e2e

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/internal/signature"
)

const (
	oldKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	newKey = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

// Functions take what the watcher signs, with the old key and the new one.
func TestSignedHops(t *testing.T) {
	c := newCluster(t)
	diff, _ := startFunction(t, "diff", "SIGNING_KEY="+oldKey+","+newKey)
	log, logProcess := startFunction(t, "log", "SIGNING_KEY="+oldKey, "LOG_FORMAT=text")
	var mu sync.Mutex
	var headers []http.Header
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		headers = append(headers, r.Header.Clone())
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(front.Close)
	w := c.startWatcher("KW_HANDLERS="+diff+","+log+","+front.URL, "KW_RESOURCES=configmaps", "KW_SIGNING_KEY="+oldKey)
	c.create(configMaps, configMap("signed", map[string]any{"a": "1"}))
	eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(headers) == 1 }, "it passes all")
	require.Contains(t, logProcess.stdout.String(), "signed")
	require.Equal(t, headers[0].Get("Ce-Id"), headers[0].Get("Webhook-Id"))
	require.Regexp(t, "^v1,[A-Za-z0-9+/]{43}=$", headers[0].Get("Webhook-Signature"))
	require.NotContains(t, w.stderr.String(), oldKey[6:])
	require.Equal(t, 0, w.stop())

	// A dead letter at a URL is signed as well.
	letters, letterProcess := startFunction(t, "log", "SIGNING_KEY="+oldKey, "LOG_FORMAT=text")
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	t.Cleanup(refuses.Close)
	w = c.startWatcher("KW_HANDLERS="+refuses.URL, "KW_DEAD_LETTER="+letters, "KW_RESOURCES=configmaps", "KW_SIGNING_KEY="+oldKey)
	c.create(configMaps, configMap("letter", nil))
	eventually(t, func() bool { return strings.Contains(letterProcess.stdout.String(), "letter") }, "the letter arrives")
	require.Equal(t, 0, w.stop())

	// Without the key, or with another one, nothing is taken: it is given up, with the reason.
	for _, env := range [][]string{nil, {"KW_SIGNING_KEY=" + newKey}} {
		w := c.startWatcher(append(env, "KW_HANDLERS="+log, "KW_RESOURCES=configmaps")...)
		c.patch(configMaps, "signed", `{"data":{"a":"`+time.Now().String()+`"}}`)
		w.await("change not delivered")
		require.Contains(t, w.stderr.String(), "answered 401")
		require.Equal(t, 0, w.stop())
	}
}

func TestAFunctionRefusesWhatIsNotSignedRight(t *testing.T) {
	url, _ := startFunction(t, "diff", "SIGNING_KEY="+oldKey)
	var key, other signature.Keys
	require.NoError(t, key.Decode(oldKey))
	require.NoError(t, other.Decode(newKey))
	for name, c := range map[string]struct {
		sign   func(h http.Header, id string, body []byte)
		body   string
		status int
		says   string
	}{
		"right":         {func(h http.Header, id string, b []byte) { key.Sign(h, id, b, time.Now()) }, "", 200, ""},
		"not signed":    {func(http.Header, string, []byte) {}, "", 401, "not signed"},
		"another key":   {func(h http.Header, id string, b []byte) { other.Sign(h, id, b, time.Now()) }, "", 401, "not valid"},
		"stale":         {func(h http.Header, id string, b []byte) { key.Sign(h, id, b, time.Now().Add(-6*time.Minute)) }, "", 401, "5 minutes"},
		"of the future": {func(h http.Header, id string, b []byte) { key.Sign(h, id, b, time.Now().Add(6*time.Minute)) }, "", 401, "5 minutes"},
		"another event": {func(h http.Header, _ string, b []byte) { key.Sign(h, "other", b, time.Now()) }, "", 401, "another event"},
		"another body":  {func(h http.Header, id string, _ []byte) { key.Sign(h, id, []byte("{}"), time.Now()) }, "", 401, "not valid"},
		"oversized":     {func(h http.Header, id string, b []byte) { key.Sign(h, id, b, time.Now()) }, strings.Repeat("x", 9<<20), 413, "8 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			e := eventtest.Sample(event.Update)
			header, body, err := event.Encode(&e)
			require.NoError(t, err)
			if c.body != "" {
				body = []byte(c.body)
			}
			c.sign(header, e.ID, body)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
			require.NoError(t, err)
			req.Header = header
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			defer func() { _ = resp.Body.Close() }()
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, c.status, resp.StatusCode, string(text))
			require.Contains(t, string(text), c.says)
		})
	}
	resp, err := http.Get(url + "/readyz")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode, "health needs no signature")
}
