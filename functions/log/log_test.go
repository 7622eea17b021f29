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
	"golang.org/x/sys/unix"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/internal/settings"
)

const diffType = "text/x-diff; charset=utf-8"

var formats = []string{"json", "ecs", "text", "compact"}

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
	return writtenBy(t, Config{Format: format}, e)
}

func writtenBy(t *testing.T, cfg Config, e event.Event) string {
	t.Helper()
	var b bytes.Buffer
	cfg.out = &b
	h, err := New(cfg)
	require.NoError(t, err)
	got, err := h(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, e, *got, "the event continues unchanged")
	return b.String()
}

func TestKeepsTheProtocol(t *testing.T) {
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			h, err := New(Config{Format: format, out: io.Discard})
			require.NoError(t, err)
			eventtest.Run(t, eventtest.Target{Handler: h, Continues: sample()})
		})
	}
}

func TestJSONHasTheNamesOfOpenTelemetry(t *testing.T) {
	e := sample()
	e.Time = time.Date(2026, time.November, 22, 9, 30, 1, 5e8, time.UTC)
	want := `{"time":"2026-11-22T09:30:01.5Z","level":"INFO","msg":"UPDATE Deployment shop/web by kubectl-edit: image web:1.4.2 → web:1.5.0",` +
		`"k8s.cluster.name":"prod-eu","k8s.namespace.name":"shop","k8s.deployment.name":"web",` +
		`"k8s.deployment.uid":"0a4f5a2e-6c1d-4c57-9e0b-2f1f0f6f7c11","kwatchman.action":"Update","kwatchman.api_version":"apps/v1",` +
		`"kwatchman.kind":"Deployment","kwatchman.name":"web","kwatchman.via":"watch",` +
		`"cloudevents.event_id":"0a4f5a2e-6c1d-4c57-9e0b-2f1f0f6f7c11.41388.update","cloudevents.event_source":"/clusters/prod-eu",` +
		`"cloudevents.event_subject":"/apis/apps/v1/namespaces/shop/deployments/web","cloudevents.event_type":"dev.kwatchman.resource.update",` +
		`"kwatchman.changed_by":[{"manager":"kubectl-edit","operation":"Update","time":"2026-11-22T09:30:00Z"}],` +
		`"kwatchman.summary":"image web:1.4.2 → web:1.5.0",` +
		`"kwatchman.payload":"--- old\n+++ new\n@@ -9,3 +9,3 @@\n   name: web\n-  image: web:1.4.2\n+  image: web:1.5.0\n"}` + "\n"
	require.Equal(t, want, written(t, "json", e))
}

func TestECSHasTheNamesOfTheElasticCommonSchema(t *testing.T) {
	e := sample()
	e.Time = time.Date(2026, time.November, 22, 9, 30, 1, 5e8, time.UTC)
	want := `{"@timestamp":"2026-11-22T09:30:01.5Z","log.level":"info","message":"UPDATE Deployment shop/web by kubectl-edit: image web:1.4.2 → web:1.5.0",` +
		`"ecs.version":"8.17.0","event.kind":"event","event.category":["configuration"],"event.type":["change"],"event.action":"update",` +
		`"event.id":"0a4f5a2e-6c1d-4c57-9e0b-2f1f0f6f7c11.41388.update","event.provider":"kwatchman","event.dataset":"kwatchman.change",` +
		`"orchestrator.type":"kubernetes","orchestrator.cluster.name":"prod-eu","orchestrator.namespace":"shop","orchestrator.api_version":"apps/v1",` +
		`"orchestrator.resource.type":"deployment","orchestrator.resource.name":"web","orchestrator.resource.id":"0a4f5a2e-6c1d-4c57-9e0b-2f1f0f6f7c11",` +
		`"kwatchman.kind":"Deployment","kwatchman.subject":"/apis/apps/v1/namespaces/shop/deployments/web","kwatchman.via":"watch",` +
		`"kwatchman.changed_by":[{"manager":"kubectl-edit","operation":"Update","time":"2026-11-22T09:30:00Z"}],` +
		`"kwatchman.summary":"image web:1.4.2 → web:1.5.0",` +
		`"kwatchman.payload":"--- old\n+++ new\n@@ -9,3 +9,3 @@\n   name: web\n-  image: web:1.4.2\n+  image: web:1.5.0\n"}` + "\n"
	require.Equal(t, want, written(t, "ecs", e))
	require.Contains(t, written(t, "ecs", eventtest.Sample(event.Add)), `"event.type":["creation"],"event.action":"add"`)
	require.Contains(t, written(t, "ecs", eventtest.Sample(event.Delete)), `"event.type":["deletion"],"event.action":"delete"`)
}

// A custom resource may be called as a built-in one; what has no name in the
// conventions has kwatchman's.
func TestOnlyTheKindsOfTheConventionsHaveTheirNames(t *testing.T) {
	for of, want := range map[[2]string]string{
		{"v1", "Service"}:   `"k8s.service.name":"web","k8s.service.uid":"0a4f5a2e-`,
		{"v1", "Namespace"}: `"k8s.namespace.name":"web","kwatchman.action"`,
		{"autoscaling/v2", "HorizontalPodAutoscaler"}: `"k8s.hpa.name":"web","k8s.hpa.uid":"0a4f5a2e-`,
		{"storage.k8s.io/v1", "StorageClass"}:         `"k8s.storageclass.name":"web","kwatchman.action"`,
		{"serving.knative.dev/v1", "Service"}:         `"k8s.namespace.name":"shop","kwatchman.action"`,
		{"v1", "ConfigMap"}:                           `"k8s.namespace.name":"shop","kwatchman.action"`,
	} {
		e := sample()
		e.APIVersion, e.Kind = of[0], of[1]
		if of[1] == "Namespace" {
			e.Namespace = ""
		}
		require.Contains(t, written(t, "json", e), want)
		require.Contains(t, written(t, "json", e), `"kwatchman.kind":"`+of[1]+`","kwatchman.name":"web"`)
	}
	e := sample()
	e.Cluster, e.ID = "218fc5a9-a5f1-4b54-aa05-46717d0ab26d", "an id of somebody else"
	got := written(t, "json", e)
	require.Contains(t, got, `"k8s.cluster.uid":"218fc5a9-a5f1-4b54-aa05-46717d0ab26d"`)
	require.NotContains(t, got, "k8s.deployment.uid")
}

func TestJSONLeavesOutWhatIsEmpty(t *testing.T) {
	for _, format := range []string{"json", "ecs"} {
		line := written(t, format, eventtest.SampleClusterScoped(event.Delete))
		for _, name := range []string{"k8s.namespace.name", "orchestrator.namespace", "kwatchman.changed_by", "kwatchman.summary", "kwatchman.payload"} {
			require.NotContains(t, line, `"`+name+`"`)
		}
		require.Contains(t, line, `"DELETE ClusterRole view-metrics by: not recorded"`)
	}
}

func TestTheTraceOfAnEventShowsInJSON(t *testing.T) {
	e := sample()
	e.Extensions = map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	require.Contains(t, written(t, "json", e), `"trace_id":"0af7651916cd43dd8448eb211c80319c"`)
	require.Contains(t, written(t, "ecs", e), `"trace.id":"0af7651916cd43dd8448eb211c80319c"`)
	e.Extensions["traceparent"] = "no trace"
	require.NotContains(t, written(t, "json", e), "trace_id")
}

func TestPayloadInJSONKeepsItsForm(t *testing.T) {
	for want, p := range map[string]*event.Payload{
		`{"a":[1.50,"<b>"]}`:     {ContentType: "application/json", Data: json.RawMessage(`{"a": [1.50,"<b>"]}`)},
		`"a & b"`:                event.TextPayload("text/plain", "a & b"),
		`"(2 bytes of image/x)"`: {ContentType: "image/x", DataBase64: []byte{1, 2}},
	} {
		e := sample()
		e.Payload = p
		require.Contains(t, written(t, "json", e), `,"kwatchman.payload":`+want+"}\n")
		require.Contains(t, written(t, "ecs", e), `,"kwatchman.payload":`+want+"}\n")
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
		"a title alone":  {relist, "2026-11-22 09:30:01 DELETE ClusterRole view-metrics prod-eu by: not recorded (relist)\n"},
		"a plain text":   {scaled, "2026-11-22 09:30:01 UPDATE Deployment shop/web prod-eu by hpa (scale), kubectl\n  a\n  \n  \tb\n\n"},
		"a line as name": {odd, `2026-11-22 09:30:01 ADD Role shop/line\nbreak 100% größe prod-eu by kubectl-edit` + "\n"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, written(t, "text", c.e)) })
	}
}

func TestTextIsColoured(t *testing.T) {
	written := func(t *testing.T, format string, e event.Event) string {
		t.Helper()
		return writtenBy(t, Config{Format: format, Color: "always"}, e)
	}
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
	require.Equal(t, "\x1b[2m09:30:01\x1b[0m \x1b[1;33mUPDATE\x1b[0m \x1b[1mDeployment shop/web\x1b[0m by kubectl-edit: image web:1.4.2 → web:1.5.0\n",
		written(t, "compact", e))
}

func TestCompactIsOneLine(t *testing.T) {
	relist := eventtest.SampleClusterScoped(event.Delete)
	relist.Time, relist.Via = sample().Time, event.ViaRelist
	require.Equal(t, "09:30:01 UPDATE Deployment shop/web by kubectl-edit: image web:1.4.2 → web:1.5.0\n", written(t, "compact", sample()))
	require.Equal(t, "09:30:01 DELETE ClusterRole view-metrics by: not recorded (relist)\n", written(t, "compact", relist))
}

func TestLinesAreCutAtTheWidthInColumns(t *testing.T) {
	e := sample()
	e.Diff.Summary = "title 日本語 cafe\u0301 😀 end"
	const full = "09:30:01 UPDATE Deployment shop/web by kubectl-edit: title 日本語 cafe\u0301 😀 end"
	require.Equal(t, 77, columnsOf(full))
	for width, want := range map[int]string{
		0: full, 77: full, 200: full,
		76: strings.TrimSuffix(full, "nd") + "…",
		72: "09:30:01 UPDATE Deployment shop/web by kubectl-edit: title 日本語 cafe\u0301 …",
		65: "09:30:01 UPDATE Deployment shop/web by kubectl-edit: title 日本…",
		64: "09:30:01 UPDATE Deployment shop/web by kubectl-edit: title 日本…",
		63: "09:30:01 UPDATE Deployment shop/web by kubectl-edit: title 日…",
		9:  "09:30:01…",
		8:  "09:30:0…",
		1:  "…",
	} {
		got := writtenBy(t, Config{Format: "compact", Width: width}, e)
		require.Equal(t, want+"\n", got, "width %d", width)
		if width > 0 {
			require.LessOrEqual(t, columnsOf(strings.TrimSuffix(got, "\n")), width)
		}
	}
	require.Equal(t, "2026-11-22 09:30:01…\n  title 日本語 cafe\u0301…\n  --- old\n  +++ new\n  @@ -9,3 +9,3 @@\n     name: web\n  -  image: web:1.4…\n  +  image: web:1.5…\n\n",
		writtenBy(t, Config{Format: "text", Width: 20}, e))
}

func TestALongPayloadIsShortenedAndSaysSo(t *testing.T) {
	e := sample()
	e.Payload = event.TextPayload("text/plain", "a\nb\nc\nd\n")
	const head = "2026-11-22 09:30:01 UPDATE Deployment shop/web prod-eu by kubectl-edit\n  image web:1.4.2 → web:1.5.0\n"
	for lines, want := range map[int]string{
		0: "  a\n  b\n  c\n  d\n\n", 4: "  a\n  b\n  c\n  d\n\n", 3: "  a\n  b\n  c\n  … 1 more line\n\n", 1: "  a\n  … 3 more lines\n\n",
	} {
		require.Equal(t, head+want, writtenBy(t, Config{Format: "text", Lines: lines}, e))
	}
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
	for _, format := range formats {
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

	var line struct {
		Name string `json:"kwatchman.name"`
	}
	require.NoError(t, json.Unmarshal([]byte(written(t, "json", e)), &line), "escapes are JSON's own")
	require.Equal(t, strings.ToValidUTF8(evil, "�")+"\n\t", line.Name)
}

func TestConcurrentEventsDoNotMix(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	for _, format := range formats {
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
		if format == "compact" {
			require.Equal(t, 32, strings.Count(string(all), "\n"))
			continue
		}
		for i := range 32 {
			want := fmt.Sprintf("  begin %d\n%s  end %d\n", i, strings.Repeat("  x\n", 500), i)
			if format != "text" {
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
		for _, format := range formats {
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

func TestColoursFollowTheTerminalAndTheSetting(t *testing.T) {
	painted := func(cfg Config) bool { return strings.Contains(writtenBy(t, cfg, sample()), "\x1b[") }
	for _, noColor := range []string{"", "1"} {
		t.Setenv("NO_COLOR", noColor)
		for color, want := range map[string]bool{"": false, "auto": false, "never": false, "always": true} {
			require.Equal(t, want, painted(Config{Format: "text", Color: color}), "%s to what is no terminal", color)
		}
	}
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminal to be had: ", err)
	}
	defer func() { require.NoError(t, terminal.Close()) }()
	for noColor, want := range map[string]bool{"": true, "1": false} {
		t.Setenv("NO_COLOR", noColor)
		got, err := colours("auto", terminal)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.NoError(t, unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 33, Row: 9}))
	require.Equal(t, 33, widthOf(0, terminal))
	require.Equal(t, 90, widthOf(90, terminal))
	require.Equal(t, 0, widthOf(0, &bytes.Buffer{}))
}

// The examples of the documentation are what is written.
func TestTheDocumentationShowsWhatIsWritten(t *testing.T) {
	raw, err := os.ReadFile("../../docs/log.md")
	require.NoError(t, err)
	for _, format := range formats {
		e := sample()
		if format == "json" || format == "ecs" {
			e.Time = time.Date(2026, time.November, 22, 9, 30, 1, 5e8, time.UTC)
		}
		require.Contains(t, string(raw), "\n"+written(t, format, e)+"```\n", format)
	}
}

func TestASettingThatCannotBeStopsTheStart(t *testing.T) {
	for setting, want := range map[string]string{
		"LOG_FORMAT=xml": "LOG_FORMAT: bad value: want json, ecs, text or compact",
		"LOG_COLOR=red":  "LOG_COLOR: bad value: want auto, always or never",
		"LOG_WIDTH=-1":   "LOG_WIDTH: bad value: want a number of columns, or 0",
		"LOG_LINES=-1":   "LOG_LINES: bad value: want a number of lines, or 0 for all",
	} {
		t.Run(setting, func(t *testing.T) {
			name, value, _ := strings.Cut(setting, "=")
			t.Setenv(name, value)
			var cfg Config
			require.NoError(t, settings.Load("LOG", &cfg))
			_, err := New(cfg)
			require.EqualError(t, err, want)
		})
	}
}

func TestARehearsalWritesNothingAndTellsAll(t *testing.T) {
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			var b bytes.Buffer
			h, err := New(Config{Format: format, out: &b})
			require.NoError(t, err)
			said := ""
			e := sample()
			got, err := h(event.Rehearse(t.Context(), func(text string) { said += text }), e)
			require.NoError(t, err)
			require.Equal(t, e, *got)
			require.Empty(t, b.String())
			require.Equal(t, "print\n"+written(t, format, e), said)
		})
	}
}
