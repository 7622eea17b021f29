package log

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/internal/settings"
)

const diffType = "text/x-diff; charset=utf-8"

// sample is an update behind the diff function.
func sample() event.Event {
	e := eventtest.Sample(event.Update)
	e.Time = time.Date(2026, time.November, 22, 9, 30, 1, 5e8, time.Local)
	e.Diff = &event.Diff{Summary: "image web:1.4.2 → web:1.5.0"}
	e.Payload = event.TextPayload(diffType, "--- old\n+++ new\n@@ -9,3 +9,3 @@\n   name: web\n-  image: web:1.4.2\n+  image: web:1.5.0\n")
	return e
}

// written is what the function writes for e.
func written(t *testing.T, format string, e event.Event) string {
	t.Helper()
	var b bytes.Buffer
	h, err := New(Config{Format: format, out: &b})
	require.NoError(t, err)
	got, err := h(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, e, *got, "the event continues unchanged")
	return b.String()
}

func TestKeepsTheProtocol(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			h, err := New(Config{Format: format, out: io.Discard})
			require.NoError(t, err)
			eventtest.Run(t, eventtest.Target{Handler: h, Continues: sample()})
		})
	}
}

func TestJSONIsOneLineWithTheContextAndThePayload(t *testing.T) {
	e := sample()
	e.Time = time.Date(2026, time.November, 22, 9, 30, 1, 5e8, time.UTC)
	want := `{"time":"2026-11-22T09:30:01.5Z","level":"INFO","msg":"change","action":"Update","kind":"Deployment",` +
		`"namespace":"shop","name":"web","apiVersion":"apps/v1","cluster":"prod-eu",` +
		`"id":"0a4f5a2e-6c1d-4c57-9e0b-2f1f0f6f7c11.41388.update","via":"watch",` +
		`"changedBy":[{"manager":"kubectl-edit","operation":"Update","time":"2026-11-22T09:30:00Z"}],` +
		`"summary":"image web:1.4.2 → web:1.5.0",` +
		`"payload":"--- old\n+++ new\n@@ -9,3 +9,3 @@\n   name: web\n-  image: web:1.4.2\n+  image: web:1.5.0\n"}` + "\n"
	require.Equal(t, want, written(t, "json", e))
}

func TestJSONLeavesOutWhatIsEmpty(t *testing.T) {
	line := written(t, "json", eventtest.SampleClusterScoped(event.Delete))
	for _, name := range []string{"namespace", "changedBy", "summary", "payload"} {
		require.NotContains(t, line, `"`+name+`"`)
	}
}

func TestPayloadInJSONKeepsItsForm(t *testing.T) {
	for want, p := range map[string]*event.Payload{
		`{"a":[1.50,"<b>"]}`:     {ContentType: "application/json", Data: json.RawMessage(`{"a": [1.50,"<b>"]}`)},
		`"a & b"`:                event.TextPayload("text/plain", "a & b"),
		`"(2 bytes of image/x)"`: {ContentType: "image/x", DataBase64: []byte{1, 2}},
	} {
		e := sample()
		e.Payload = p
		require.Contains(t, written(t, "json", e), `,"payload":`+want+"}\n")
	}
}

func TestTextIsReadable(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	relist := eventtest.SampleClusterScoped(event.Delete)
	relist.Time, relist.Via = sample().Time, event.ViaRelist
	scaled := sample()
	scaled.ChangedBy = []event.Manager{{Manager: "hpa", Subresource: "scale"}, {Manager: "kubectl"}}
	scaled.Diff, scaled.Payload = nil, event.TextPayload("text/plain", "a\n\n\tb\n\n")
	odd := eventtest.SampleOddName(event.Add)
	odd.Time = sample().Time
	for name, c := range map[string]struct {
		e    event.Event
		want string
	}{
		"a diff": {sample(), "2026-11-22 09:30:01 UPDATE Deployment shop/web prod-eu by kubectl-edit\n" +
			"  image web:1.4.2 → web:1.5.0\n" +
			"  --- old\n  +++ new\n  @@ -9,3 +9,3 @@\n     name: web\n  -  image: web:1.4.2\n  +  image: web:1.5.0\n\n"},
		"a title alone":  {relist, "2026-11-22 09:30:01 DELETE ClusterRole view-metrics prod-eu (relist)\n"},
		"a plain text":   {scaled, "2026-11-22 09:30:01 UPDATE Deployment shop/web prod-eu by hpa (scale), kubectl\n  a\n  \n  \tb\n\n"},
		"a line as name": {odd, `2026-11-22 09:30:01 ADD Role shop/line\nbreak 100% größe prod-eu by kubectl-edit` + "\n"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, written(t, "text", c.e)) })
	}
}

func TestTextIsColoured(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	e := sample()
	e.Payload = event.TextPayload(diffType, "--- old\n+++ new\n@@ -1 +1 @@\n same\n--- was\n+++ is\n")
	require.Equal(t, "\x1b[2m2026-11-22 09:30:01\x1b[0m \x1b[1;33mUPDATE\x1b[0m \x1b[1mDeployment shop/web\x1b[0m "+
		"\x1b[2mprod-eu\x1b[0m by kubectl-edit\n"+
		"  image web:1.4.2 → web:1.5.0\n"+
		"  \x1b[1m--- old\x1b[0m\n  \x1b[1m+++ new\x1b[0m\n  \x1b[36m@@ -1 +1 @@\x1b[0m\n   same\n"+
		"  \x1b[31m--- was\x1b[0m\n  \x1b[32m+++ is\x1b[0m\n\n", written(t, "text", e))
	for action, colour := range map[event.Action]string{event.Add: green, event.Update: yellow, event.Delete: red} {
		require.Contains(t, written(t, "text", eventtest.Sample(action)), "\x1b[1;"+colour+"m"+strings.ToUpper(string(action))+"\x1b[0m")
	}
	e.Payload = event.TextPayload("text/plain", "+ no diff\n")
	require.Contains(t, written(t, "text", e), "\n  + no diff\n")
}

// Whoever may write a manifest must not be able to write to the terminals of
// those who watch it.
func TestControlCharactersOfAManifestDoNotReachTheTerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	const evil = "\x1b]0;title\x07\x1b[2J\r\x00\b\x7f\u009b31m\u202eabc\u2028\xff"
	e := sample()
	e.Name, e.Kind, e.Cluster = evil+"\n\t", evil, evil
	e.Diff.Summary = evil + "\n"
	e.ChangedBy[0].Manager = evil
	e.Payload = event.TextPayload(diffType, "@@ "+evil+"\n+"+evil+"\ttab\n")
	for _, format := range []string{"json", "text"} {
		got := written(t, format, e)
		for i, r := range got {
			if r != '\n' && r != '\t' {
				require.False(t, isUnsafe(r), "%s: %q at %d of %q", format, r, i, got)
			}
		}
		require.Contains(t, got, "abc", "what is harmless stays")
	}
	require.Equal(t, 5, strings.Count(written(t, "text", e), "\n"), "only the payload has lines of its own")
	require.Contains(t, written(t, "text", e), `\x1b]0;title\a\x1b[2J\r\x00\b\x7f\u009b31m\u202eabc`)

	var line struct{ Name, Payload string }
	require.NoError(t, json.Unmarshal([]byte(written(t, "json", e)), &line), "escapes are JSON's own")
	require.Equal(t, strings.ToValidUTF8(evil, "�")+"\n\t", line.Name)
}

func TestConcurrentEventsDoNotMix(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	for _, format := range []string{"json", "text"} {
		r, w := io.Pipe() // whoever writes in two pieces is interrupted between them
		h, err := New(Config{Format: format, out: w})
		require.NoError(t, err)
		var wg sync.WaitGroup
		for i := range 32 {
			e := sample()
			e.Payload = event.TextPayload("text/plain", fmt.Sprintf("begin %d\n%send %d", i, strings.Repeat("x\n", 500), i))
			wg.Go(func() {
				if _, err := h(t.Context(), e); err != nil {
					t.Error(err)
				}
			})
		}
		go func() {
			wg.Wait()
			_ = w.Close()
		}()
		all, err := io.ReadAll(r)
		require.NoError(t, err)
		for i := range 32 {
			want := fmt.Sprintf("  begin %d\n%s  end %d\n", i, strings.Repeat("  x\n", 500), i)
			if format == "json" {
				want = fmt.Sprintf(`begin %d\n%send %d"}`, i, strings.Repeat(`x\n`, 500), i) + "\n"
			}
			require.Contains(t, string(all), want)
		}
	}
}

type broken struct {
	n   int
	err error
}

func (b broken) Write([]byte) (int, error) { return b.n, b.err }

func TestChangeThatWasNotWrittenIsAFailure(t *testing.T) {
	full := errors.New("no space left on device")
	for want, w := range map[error]io.Writer{full: broken{0, full}, io.ErrShortWrite: broken{3, nil}} {
		for _, format := range []string{"json", "text"} {
			h, err := New(Config{Format: format, out: w})
			require.NoError(t, err)
			got, err := h(t.Context(), sample())
			require.Nil(t, got)
			require.ErrorIs(t, err, want)
			require.ErrorContains(t, err, "write change: ")
		}
	}
}

func TestFormatFollowsTheTerminal(t *testing.T) {
	require.Equal(t, "json", formatFor(&bytes.Buffer{}))
	file, err := os.Create(t.TempDir() + "/out")
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	require.Equal(t, "json", formatFor(file))
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminal to be had: ", err)
	}
	defer func() { require.NoError(t, terminal.Close()) }()
	require.Equal(t, "text", formatFor(terminal))
}

func TestUnknownFormatStopsTheStart(t *testing.T) {
	t.Setenv("LOG_FORMAT", "xml")
	var cfg Config
	require.NoError(t, settings.Load("LOG", &cfg))
	_, err := New(cfg)
	require.EqualError(t, err, "LOG_FORMAT: bad value: want json or text")
}
