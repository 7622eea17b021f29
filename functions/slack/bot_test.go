package slack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

func TestABotKeepsTheProtocol(t *testing.T) {
	w := newWorkspace(t)
	h := newFunction(t, w.config())
	eventtest.Run(t, eventtest.Target{Handler: h, Continues: eventtest.Sample(event.Update), Secrets: []string{botToken}})
	require.NotEmpty(t, w.messages())
}

// revision is another change of the Deployment.
func revision(n int) event.Event {
	return deployment(func(e *event.Event) {
		e.ID = fmt.Sprintf("0a4f5a2e.%d.update", n)
		e.Diff.Summary = fmt.Sprintf("step %d", n)
	})
}

func post1(t *testing.T, h event.Handler, e event.Event) {
	t.Helper()
	got, err := h(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, e, *got, "the event continues unchanged")
}

func TestMessagesAboutOneObjectJoinAThread(t *testing.T) {
	w := newWorkspace(t)
	other := deployment(func(e *event.Event) {
		e.ID, e.Subject = "other.1.update", "/apis/apps/v1/namespaces/shop/deployments/cart"
	})
	// Every event reaches another replica: what was posted is read from Slack.
	for _, e := range []event.Event{revision(1), other, revision(2), revision(3)} {
		post1(t, newFunction(t, w.config()), e)
	}
	got := w.messages()
	require.Len(t, got, 4)
	require.Equal(t, []string{"", "", got[0]["ts"], got[0]["ts"]},
		[]string{got[0]["thread"], got[1]["thread"], got[2]["thread"], got[3]["thread"]})
	require.Equal(t, map[string]any{"event_type": "kwatchman_change", "event_payload": map[string]any{
		"id": "0a4f5a2e.1.update", "subject": other.Subject[:len(other.Subject)-len("cart")] + "web",
	}}, w.posted[0].Metadata)
	require.Equal(t, "false", w.posted[0].Form.Get("unfurl_links"))
	require.Equal(t, "false", w.posted[0].Form.Get("unfurl_media"))
}

func TestThreadIsFoundOnALaterPage(t *testing.T) {
	w := newWorkspace(t)
	w.pageSize = 3
	h := newFunction(t, w.config())
	post1(t, h, revision(1))
	for i := range 5 {
		post1(t, h, deployment(func(e *event.Event) { e.ID, e.Subject = fmt.Sprint(i), fmt.Sprintf("/api/v1/pods/p%d", i) }))
	}
	for n := 2; n < 8; n++ {
		post1(t, h, revision(n))
		post1(t, h, revision(n))
	}
	got := w.messages()
	require.Len(t, got, 12, "none twice")
	require.Equal(t, got[0]["ts"], got[11]["thread"])
}

func TestThreadIsFoundWithoutTheMetadata(t *testing.T) {
	w := newWorkspace(t)
	w.forgets = true
	h := newFunction(t, w.config())
	for _, n := range []int{1, 1, 2, 2, 3, 3} {
		post1(t, h, revision(n))
	}
	got := w.messages()
	require.Len(t, got, 3)
	require.Equal(t, []string{got[0]["ts"], got[0]["ts"]}, []string{got[1]["thread"], got[2]["thread"]})
}

func TestWithoutThreadsEveryMessageStandsAlone(t *testing.T) {
	w := newWorkspace(t)
	cfg := w.config()
	cfg.Threads = false
	h := newFunction(t, cfg)
	post1(t, h, revision(1))
	post1(t, h, revision(2))
	require.Equal(t, []string{"", ""}, []string{w.messages()[0]["thread"], w.messages()[1]["thread"]})
	require.Equal(t, 0, w.called("conversations.history")+w.called("conversations.list"))
}

// The answer to a post may get lost; the sender then tries again.
func TestAnAttemptAfterALostAnswerPostsNothingMore(t *testing.T) {
	w := newWorkspace(t)
	h := newFunction(t, w.config())
	for range 3 {
		post1(t, h, revision(1))
	}
	for range 3 {
		post1(t, h, revision(2))
	}
	require.Len(t, w.messages(), 2)
}

func TestTheTemplateChoosesTheChannel(t *testing.T) {
	w := newWorkspace(t)
	for template, want := range map[string]string{
		"changes":    changes,
		" #Changes ": changes,
		changes:      changes,
		"#team-{{ .Object.metadata.labels.team }}":                                                   "C0TEAMSHOP",
		"{{ with .Object.metadata.labels.team }}#team-{{ . }}{{ else }}#changes{{ end }}":            "C0TEAMSHOP",
		"{{ with .Object.metadata.annotations.channel }}{{ . }}{{ else }}#changes{{ end }}":          changes,
		`{{ if eq .Namespace "shop" }}#team-shop{{ else }}#changes{{ end }}`:                         "C0TEAMSHOP",
		`#{{ index .Object.metadata.labels "app.kubernetes.io/channel" | default "changes" }}`:       changes,
		`{{ $l := .Object.metadata.labels }}#{{ if $l.none }}a{{ else }}team-{{ $l.team }}{{ end }}`: "C0TEAMSHOP",
	} {
		for _, action := range []event.Action{event.Add, event.Update, event.Delete} {
			cfg := w.config()
			cfg.Channel = template
			e := eventtest.Sample(action)
			labelled := []byte(`{"metadata":{"name":"web","labels":{"team":"Shop"}}}`)
			if e.Object != nil {
				e.Object = labelled
			}
			if e.OldObject != nil {
				e.OldObject = labelled
			}
			e.ID += template
			post1(t, newFunction(t, cfg), e)
			got := w.messages()
			require.Equal(t, want, got[len(got)-1]["channel"], "%s: %s", action, template)
		}
	}
}

// A change that belongs to no channel is a failure that ends in the dead
// letters, not silence.
func TestAnEventWithoutAChannelIsAPermanentFailure(t *testing.T) {
	w := newWorkspace(t)
	for template, want := range map[string]string{
		"{{ .Object.metadata.labels.team }}":  "SLACK_CHANNEL gives no channel for /apis/apps/v1/namespaces/shop/deployments/web: give it a default",
		"#{{ .Object.metadata.labels.team }}": "SLACK_CHANNEL gives no channel for /apis/apps/v1/namespaces/shop/deployments/web: give it a default",
		"#team {{ .Name }}":                   "SLACK_CHANNEL gives no name of a channel for /apis/apps/v1/namespaces/shop/deployments/web: want letters, digits, - and _",
		"#" + strings.Repeat("x", 81):         "SLACK_CHANNEL gives no name of a channel for /apis/apps/v1/namespaces/shop/deployments/web: want letters, digits, - and _",
		"#team-{{ .Name }}":                   "post to Slack channel #team-web: channel_not_found: does the channel exist, and was the app invited to it, if it is private?",
		"{{ slice .Name 0 99 }}":              `SLACK_CHANNEL: bad template: 1:3: executing "SLACK_CHANNEL" at <slice (get . "Name") 0 99>: error calling slice: index out of range: 99`,
	} {
		cfg := w.config()
		cfg.Channel = template
		_, err := newFunction(t, cfg)(t.Context(), deployment(nil))
		require.EqualError(t, err, want)
		e, ok := errors.AsType[*event.Error](err)
		require.True(t, ok)
		require.Equal(t, event.StatusPermanent, e.Status)
	}
	require.Empty(t, w.messages())
}

func long(n int) event.Event {
	e := revision(n)
	e.Payload = event.TextPayload("text/x-diff; charset=utf-8", numbered(1000))
	return e
}

func TestALongDiffIsUploadedIntoTheThread(t *testing.T) {
	w := newWorkspace(t)
	h := newFunction(t, w.config())
	for _, e := range []event.Event{long(1), long(1), long(2), long(2)} {
		post1(t, h, e)
	}
	require.Len(t, w.messages(), 2)
	files := w.files()
	require.Len(t, files, 2)
	require.Equal(t, numbered(1000), files[0].content)
	require.Regexp(t, `^deployment-web-[0-9a-f]{8}\.diff$`, files[0].name)
	require.NotEqual(t, files[0].name, files[1].name)
	for _, p := range w.posted[1:] {
		require.Equal(t, w.posted[0].TS, p.Thread)
	}
	require.Contains(t, w.posted[0].Form.Get("blocks"), "more lines")
}

func TestAnUploadThatFailsIsTriedAgainWithoutASecondMessage(t *testing.T) {
	for _, step := range []string{"files.getUploadURLExternal", "/upload/F1", "files.completeUploadExternal"} {
		w := newWorkspace(t)
		w.refuse[step] = func(rw http.ResponseWriter, call int) bool {
			if call == 1 {
				rw.WriteHeader(http.StatusServiceUnavailable)
			}
			return call == 1
		}
		h := newFunction(t, w.config())
		_, err := h(t.Context(), long(1))
		e, ok := errors.AsType[*event.Error](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, http.StatusServiceUnavailable, e.Status)
		require.Len(t, w.messages(), 1)
		post1(t, h, long(1))
		require.Len(t, w.messages(), 1, step)
		require.Len(t, w.files(), 1, step)
	}
}

// What the token may not do costs comfort; the message goes out.
func TestMissingScopesCostNoMessage(t *testing.T) {
	for name, c := range map[string]struct {
		refuse    map[string]string
		warnings  int
		threads   bool
		wantFiles int
	}{
		"no list":             {map[string]string{"conversations.list": "missing_scope"}, 1, true, 2}, // the answer to the first names the channel
		"no history":          {map[string]string{"conversations.history": "missing_scope"}, 1, false, 2},
		"unknown method":      {map[string]string{"conversations.history": "unknown_method"}, 1, false, 2},
		"not in the channel":  {map[string]string{"conversations.history": "not_in_channel"}, 1, false, 2},
		"no replies":          {map[string]string{"conversations.replies": "missing_scope"}, 1, false, 2},
		"no files":            {map[string]string{"files.getUploadURLExternal": "missing_scope"}, 1, true, 0},
		"no files in channel": {map[string]string{"files.completeUploadExternal": "not_in_channel"}, 1, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			for method, word := range c.refuse {
				w.refuse[method] = refusing(word)
			}
			logs := captureLogs(t)
			h := newFunction(t, w.config())
			post1(t, h, long(1))
			post1(t, h, long(2))
			got := w.messages()
			require.Len(t, got, 2)
			require.Equal(t, c.threads, got[1]["thread"] != "")
			require.Len(t, w.files(), c.wantFiles)
			require.Equal(t, c.warnings, strings.Count(logs.String(), `"WARN"`), logs.String())
			w.requireNoSecret(t, logs.String())
		})
	}
}

func captureLogs(t *testing.T) *bytes.Buffer {
	t.Helper()
	var logs bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&logs, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &logs
}

// Private channels need a scope of their own.
func TestWithoutTheScopeForPrivateChannelsThePublicOnesAreListed(t *testing.T) {
	w := newWorkspace(t)
	w.refuse["conversations.list"] = refusing("missing_scope", 1)
	h := newFunction(t, w.config())
	post1(t, h, revision(1))
	post1(t, h, revision(2))
	require.NotEmpty(t, w.messages()[1]["thread"])
	require.Equal(t, 2, w.called("conversations.list"), "and not once a message")
}

// A workspace may have more channels than there is time to list at once, and
// more than are listed at all.
func TestAListOfChannelsGoesOnWhereItEnded(t *testing.T) {
	w := newWorkspace(t)
	w.listed = 1
	for i := range 30 {
		w.channels[fmt.Sprintf("a%02d", i)] = fmt.Sprintf("C0000000%02d", i)
	}
	h := newFunction(t, w.config())
	ctx, cancel := context.WithCancel(t.Context())
	w.refuse["conversations.list"] = func(_ http.ResponseWriter, call int) bool {
		if call == 13 {
			cancel() // whether the answer still arrives is all the same
		}
		return false
	}
	_, err := h(ctx, revision(1))
	require.ErrorIs(t, err, context.Canceled)
	post1(t, h, revision(1))
	require.LessOrEqual(t, w.called("conversations.list"), 13+20)
	require.Equal(t, 1, w.called("conversations.history"), "the 31st was found: 20 pages from the first on do not reach it")
	post1(t, h, revision(1))
	require.Len(t, w.messages(), 1)

	beyond := newFunction(t, Config{Token: botToken, Channel: "#team-shop", Threads: true, ApiURL: w.url + "/api"})
	post1(t, beyond, revision(2))
	post1(t, beyond, revision(3))
	require.Equal(t, w.messages()[1]["ts"], w.messages()[2]["thread"])
}

func TestADeletedThreadIsBegunAnew(t *testing.T) {
	w := newWorkspace(t)
	h := newFunction(t, w.config())
	post1(t, h, revision(1))
	w.refuse["chat.postMessage"] = refusing("thread_not_found", 2)
	post1(t, h, revision(2))
	require.Empty(t, w.messages()[1]["thread"])
}

func TestWordOfSlackDecidesWhetherToTryAgain(t *testing.T) {
	for word, want := range map[string]int{
		"ratelimited": 429, "internal_error": 503, "fatal_error": 503, "service_unavailable": 503, "request_timeout": 503,
		"channel_not_found": 422, "not_in_channel": 422, "is_archived": 422, "invalid_auth": 422, "token_revoked": 422,
		"missing_scope": 422, "invalid_blocks": 422, "no_text": 422, "something_new": 422,
	} {
		for _, method := range []string{"chat.postMessage", "conversations.history"} {
			w := newWorkspace(t)
			w.refuse[method] = refusing(word)
			_, err := newFunction(t, w.config())(t.Context(), deployment(nil))
			if method != "chat.postMessage" && err == nil {
				require.Len(t, w.messages(), 1, "%s costs the thread alone", word)
				continue
			}
			e, ok := errors.AsType[*event.Error](err)
			require.True(t, ok, "%s: %v", word, err)
			require.Equal(t, want, e.Status, word)
			if want == 422 {
				require.Contains(t, err.Error(), "#changes: "+word)
			}
			require.Empty(t, w.messages())
		}
	}
}

func TestABotKeepsItsTokenToItself(t *testing.T) {
	for name, answer := range map[string]string{
		"an echo as the word": `{"ok":false,"error":"` + botToken + `"}`,
		"no JSON":             botToken,
		"no word":             `{"ok":false}`,
		"a warning":           `{"ok":false,"error":"internal_error","warning":"` + botToken + `"}`,
	} {
		for _, method := range []string{"chat.postMessage", "conversations.history", "conversations.list", "files.getUploadURLExternal"} {
			w := newWorkspace(t)
			w.refuse[method] = func(rw http.ResponseWriter, _ int) bool {
				_, _ = rw.Write([]byte(answer))
				return true
			}
			logs := captureLogs(t)
			_, err := newFunction(t, w.config())(t.Context(), long(1))
			w.requireNoSecret(t, fmt.Sprint(err), logs.String())
			if method == "chat.postMessage" {
				require.Error(t, err, name)
			}
		}
	}
}

func TestTheRateLimitOfTheAPIIsPassedOn(t *testing.T) {
	for _, method := range []string{"chat.postMessage", "conversations.history", "conversations.list", "conversations.replies", "files.completeUploadExternal"} {
		w := newWorkspace(t)
		h := newFunction(t, w.config())
		post1(t, h, revision(1))
		h = newFunction(t, w.config())
		w.refuse[method] = func(rw http.ResponseWriter, _ int) bool {
			rw.Header().Set("Retry-After", "7")
			rw.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		_, err := h(t.Context(), long(2))
		e, ok := errors.AsType[*event.Error](err)
		require.True(t, ok, "%s: %v", method, err)
		require.Equal(t, http.StatusTooManyRequests, e.Status)
		require.InDelta(t, 7, e.RetryAfter.Seconds(), 0)
		w.mu.Lock()
		w.refuse = nil
		w.mu.Unlock()
		post1(t, h, long(2))
		require.Len(t, w.messages(), 2, method)
	}
}

func TestCallerWhoLeavesEndsTheSearch(t *testing.T) {
	w := newWorkspace(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newFunction(t, w.config())(ctx, deployment(nil))
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, w.messages())
}

func TestBadSettingsOfTheBotStopTheStart(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Token: botToken}, "SLACK_TOKEN is set and SLACK_CHANNEL is not: want a channel such as #changes, or a template"},
		{Config{Channel: "#a"}, "SLACK_CHANNEL is set and SLACK_TOKEN is not: want the token of a bot (xoxb-…)"},
		{Config{Token: botToken, Channel: "#a", WebhookURL: "https://hooks.slack.com/x"}, "SLACK_WEBHOOK_URL and SLACK_TOKEN are both set: want one of them"},
		{Config{WebhookURL: "https://hooks.slack.com/x", Channel: "#a"}, "SLACK_CHANNEL is set with SLACK_WEBHOOK_URL: a webhook posts to its own channel; want SLACK_TOKEN to choose one"},
		{Config{Token: "xapp-1-" + botToken, Channel: "#a"}, "SLACK_TOKEN: bad value: want the token of a bot (xoxb-…)"},
		{Config{Token: botToken + " two", Channel: "#a"}, "SLACK_TOKEN: bad value: want the token of a bot (xoxb-…)"},
		{Config{Token: botToken, Channel: "#a", ApiURL: "slack.com"}, "SLACK_API_URL: bad value: want an absolute http or https URL"},
		{Config{Token: botToken, Channel: "#{{ .Object"}, "SLACK_CHANNEL: bad template: 1: unclosed action"},
		{Config{Token: botToken, Channel: "#{{ .Objct.metadata.name }}"}, "SLACK_CHANNEL: unknown field \"Objct\": did you mean Object?"},
		{Config{Token: botToken, Channel: "#{{ nothing }}"}, `SLACK_CHANNEL: bad template: 1: function "nothing" not defined`},
	} {
		_, err := New(c.cfg)
		require.EqualError(t, err, c.want)
	}
	newFunction(t, Config{Token: botToken + "\n", Channel: "#a"})
}
