package chain

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// bomb is a GiB of zeros as gzip, in a MiB: a stream may be many streams.
func bomb(t *testing.T) []byte {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	_, err := zip.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, zip.Close())
	require.Less(t, b.Len(), 2<<10)
	return bytes.Repeat(b.Bytes(), 1<<10)
}

func TestAReplyIsBoundedInMemory(t *testing.T) {
	bomb := bomb(t)
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		reason string
	}{
		"just too large": {answer(200, jsonType, strings.Repeat(" ", maxReply+1)), "reply is larger than 8388608 bytes"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 64<<10))
			}
		}, "reply is larger than 8388608 bytes"},
		"a gzip bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		}, "reply is larger than 8388608 bytes"},
		"an endless refusal": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			for r.Context().Err() == nil {
				_, _ = w.Write(bytes.Repeat([]byte("no "), 1000))
			}
		}, "answered 400: no no"},
		"a gzip bomb as a refusal": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(400)
			_, _ = w.Write(bomb)
		}, "answered 400:"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, log := deliver(t, Config{Timeout: time.Minute}, tc.answer, change("web", 1))
			runtime.ReadMemStats(&after)
			require.Nil(t, got)
			given := log.with(t, notDelivered)
			require.Len(t, given, 1)
			require.Contains(t, given[0]["error"], tc.reason)
			require.LessOrEqual(t, len(given[0]["error"].(string)), 400)
			// All that was ever allocated; a buffer that grows to the limit takes a few times its size.
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100<<20))
		})
	}
}

func TestAReplyOfJustTheLimitIsRead(t *testing.T) {
	const plain = `{"continue":true}`
	got, _ := deliver(t, Config{}, answer(200, jsonType, plain+strings.Repeat(" ", maxReply-len(plain))), change("web", 1))
	require.NotNil(t, got)
}

func TestAnAnswerThatNeverEndsIsBoundedInTime(t *testing.T) {
	trickle := func(header string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, header)
			for {
				if _, err := io.WriteString(conn, "x"); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"status line": trickle("HTTP/1.1 200 "),
		"headers":     trickle("HTTP/1.1 200 OK\r\nX: "),
		"body":        trickle("HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n"),
		"refusal":     trickle("HTTP/1.1 500 Oh\r\nContent-Length: 8000000\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, Config{Steps: steps(endpoint(t, h)), Timeout: 50 * time.Millisecond, RetryMax: 1})
			c.push(change("web", 1))
			c.finish()
			require.Len(t, c.log.with(t, notDelivered), 1)
		})
	}
}

func TestAnAnswerThatIsNoHTTPIsNoAnswer(t *testing.T) {
	for name, tc := range map[string]struct{ answer, reason string }{
		"garbage":        {strings.Repeat("\x00garbage\r\n", 10_000), "malformed HTTP"},
		"a long line":    {strings.Repeat("x", 1<<20), "exceeded"},
		"huge headers":   {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", "exceeded"},
		"endless early":  {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 100_000), ""},
		"broken gzip":    {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "reply broke off"},
		"broken chunks":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "reply broke off"},
		"two lengths":    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "Content-Length"},
		"negative":       {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length"},
		"nothing at all": {"HTTP/1.1 200", "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, Config{Steps: steps(raw(t, tc.answer)), Timeout: 2 * time.Second, RetryMax: 1})
			c.push(change("web", 1))
			c.finish()
			require.Len(t, c.log.with(t, notDelivered), 1)
			failed := c.log.with(t, "step fails, trying again")
			require.NotEmpty(t, failed)
			require.Contains(t, failed[0]["error"], tc.reason)
			require.LessOrEqual(t, len(failed[0]["error"].(string)), 400)
		})
	}
}

// The body of a 101 is the open connection: no timeout ends reading it.
func TestSwitchingProtocolsHoldsNoWorker(t *testing.T) {
	step := raw(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	c := start(t, Config{Steps: steps(step), Concurrency: 1})
	c.push(change("web", 1), change("web", 2))
	c.finish()
	require.Len(t, c.log.with(t, notDelivered), 2)
}
