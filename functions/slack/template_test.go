package slack

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/internal/templates"
)

const manifest = `{"metadata":{"name":"web","labels":{"team":"shop","app.kubernetes.io/part-of":"till"},"generation":7},
"spec":{"replicas":3,"share":0.5,"big":12345678901234567890,"on":true,"containers":[{"name":"app","image":"web:1.5"}],"none":null}}`

func templated(edit func(*event.Event)) event.Event {
	return deployment(func(e *event.Event) {
		e.Object, e.OldObject = json.RawMessage(manifest), json.RawMessage(`{"metadata":{"name":"web"}}`)
		e.Diff.Changes = []event.FieldChange{{Op: "replace", Path: "spec.replicas", From: json.Number("2"), To: json.Number("3")}}
		if edit != nil {
			edit(e)
		}
	})
}

func TestTemplatesReadTheEvent(t *testing.T) {
	for text, want := range map[string]string{
		"{{ .Action }} {{ .APIVersion }} {{ .Kind }} {{ .Namespace }}/{{ .Name }} {{ .Cluster }} {{ .Via }}": "Update apps/v1 Deployment shop/web prod-eu watch",
		"{{ .Subject }} {{ .ID }} {{ .Source }}": "/apis/apps/v1/namespaces/shop/deployments/web 0a4f5a2e-6c1d-4c57-9e0b-2f1f0f6f7c11.41388.update /clusters/prod-eu",
		"{{ .Who }}|{{ range .ChangedBy }}{{ .Manager }} {{ .Operation }} {{ .Subresource }} {{ .Time }}{{ end }}": "kubectl-edit|kubectl-edit Update  2026-11-22T09:30:00Z",
		"{{ .Diff.Summary }}": "image web:1.4.2 → web:1.5.0, replicas 2 → 3",
		"{{ range .Diff.Changes }}{{ .Op }} {{ .Path }} {{ .From }} {{ .To }}{{ end }}":                "replace spec.replicas 2 3",
		"{{ range $i, $c := .Diff.Changes }}{{ $i }} {{ $c.Path }} {{ $.Name }}{{ end }}":              "0 spec.replicas web",
		"{{ .Payload | printf \"%.7s\" }}":                                                             "--- old",
		"{{ .Time }} {{ .Time.Unix }} {{ .Time.Year }} {{ .Time.Format \"15:04\" }}":                   "2026-11-22T09:30:01Z 1795339801 2026 09:30",
		"{{ .Object.metadata.labels.team }}{{ .OldObject.metadata.name }}":                             "shopweb",
		`{{ index .Object.metadata.labels "app.kubernetes.io/part-of" }}`:                              "till",
		`{{ (index .Object.spec.containers 0).image }} {{ (index .Object "spec").on }}`:                "web:1.5 true",
		"{{ .Object.spec.replicas }} {{ .Object.spec.share }} {{ .Object.spec.big }}":                  "3 0.5 12345678901234567890",
		"{{ if gt .Object.spec.replicas 2 }}many{{ end }}{{ if eq .Object.spec.on true }} on{{ end }}": "many on",
		"{{ len .Object.spec.containers }} {{ .Object.metadata.labels }}":                              `1 {"app.kubernetes.io/part-of":"till","team":"shop"}`,
		"{{ range .Object.spec.containers }}{{ .name }} {{ .image }}{{ .nothing.at }}{{ end }}":        "app web:1.5",
		"{{ range $k, $v := .Object.metadata.labels }}{{ $k }}={{ $v }} {{ end }}":                     "app.kubernetes.io/part-of=till team=shop ",
		// What is missing is empty, however deep.
		"[{{ range .Object.spec.volumes }}x{{ else }}none{{ end }}{{ range $k, $v := .Object.metadata.annotations.a }}x{{ end }}]":            "[none]",
		"[{{ .Object.metadata.annotations.a.b.c }}{{ .Object.spec.none }}{{ .Object.spec.none.x }}{{ .Object.metadata.name.x }}]":             "[]",
		`[{{ index .Object.metadata.annotations "a" }}{{ index .Object.spec.containers 7 }}{{ index .Name 0 }}{{ index .Object.spec true }}]`: "[]",
		"[{{ with .Object.metadata.annotations.owner }}{{ . }}{{ else }}nobody{{ end }}]":                                                     "[nobody]",
		"{{ .Object.metadata.annotations.owner | default .Object.metadata.labels.team | default \"none\" }}":                                  "shop",
		"{{ with $x := .Object.metadata }}{{ $x.name }}{{ .generation }}{{ $.Kind }}{{ end }}":                                                "web7Deployment",
		"{{ lower .Kind }} {{ .Name | replace \"w\" \"-\" }} {{ if match \"^prod-\" .Cluster }}prod{{ end }}":                                 "deployment -eb prod",
		"{{ urlquery \"a b/c\" }} {{ pathescape \"a b/c\" }}":                                                                                 "a+b%2Fc a%20b%2Fc",
		"{{ define \"x\" }}<{{ .spec.replicas }}{{ .nothing.at.all }}>{{ end }}{{ template \"x\" .Object }}":                                  "<3>",
		"{{ printf \"%s-%v\" .Name .Object.spec.replicas }}":                                                                                  "web-3",
	} {
		parsed, err := newTemplate("SLACK_TITLE", text, false)
		require.NoError(t, err, text)
		e := templated(nil)
		got, err := parsed.Text(templates.NewData(&e, e.Cluster))
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

// One template serves all actions: what was deleted is the object too.
func TestTheObjectOfADeletionIsWhatItLastWas(t *testing.T) {
	parsed, err := newTemplate("SLACK_TITLE", "{{ .Object.metadata.name }} {{ .OldObject.metadata.name }}", false)
	require.NoError(t, err)
	for action, want := range map[event.Action]string{event.Add: "web ", event.Update: "web web", event.Delete: "web web"} {
		e := eventtest.Sample(action)
		got, err := parsed.Text(templates.NewData(&e, ""))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestATemplateThatCannotBeStopsTheStart(t *testing.T) {
	for text, want := range map[string]string{
		"{{ .Nane }}": `SLACK_TITLE: unknown field "Nane": did you mean Name?`,
		"{{ if .Kind }}{{ $.Objekt.a }}{{ end }}":     `SLACK_TITLE: unknown field "Objekt": did you mean Object?`,
		"{{ range .ChangedBy }}{{ $.Kint }}{{ end }}": `SLACK_TITLE: unknown field "Kint": did you mean Kind?`,
		"{{ printf \"%s\" .zzzzzz.x }}":               `SLACK_TITLE: unknown field "zzzzzz": want APIVersion, Action, ChangedBy, Cluster, Diff, ID, Kind, Name, Namespace, Object, OldObject, Payload, Source, Subject, Time, Title, Via, Who`,
		"{{ end }}":                                   "SLACK_TITLE: bad template: 1: unexpected {{end}}",
		"a\n{{ nane }}":                               `SLACK_TITLE: bad template: 2: function "nane" not defined`,
		"{{ .Name":                                    "SLACK_TITLE: bad template: 1: unclosed action",
	} {
		_, err := New(Config{WebhookURL: "https://hooks.slack.com/x", Title: text})
		require.EqualError(t, err, want)
	}
}

func postedBy(t *testing.T, cfg Config, e event.Event) []byte {
	t.Helper()
	s := newStandIn(t, nil)
	cfg.WebhookURL = s.url + webhookPath
	post1(t, newFunction(t, cfg), e)
	require.Len(t, s.messages(), 1)
	return s.messages()[0]
}

func blockTexts(t *testing.T, posted []byte) []string {
	t.Helper()
	var m shown
	require.NoError(t, json.Unmarshal(posted, &m))
	var out []string
	for _, b := range m.Blocks {
		if b.Text != nil {
			out = append(out, b.Text.Text)
		}
	}
	return out
}

// A template may format and mention; what it inserts may not.
func TestOnlyATemplatesOwnTextIsMarkup(t *testing.T) {
	e := templated(func(e *event.Event) {
		e.Name, e.Diff.Summary = "<!channel>", "a & ```b``` <@U1>\x1b[1m"
	})
	got := blockTexts(t, postedBy(t, Config{
		Title: "<!here> {{ .Name }}\n  *{{ .Kind }}*",
		Body:  "_{{ .Diff.Summary }}_\n```{{ printf \"%s\" .Name }}```",
	}, e))
	require.Equal(t, []string{
		"🟡 *<!here> &lt;!channel&gt; *Deployment**",
		"_a &amp; `\u200b`\u200b`b`\u200b`\u200b` &lt;@U1&gt;[1m_\n```&lt;!channel&gt;```",
	}, got)
}

func TestTheTitleLeadsWhereTheTemplateSays(t *testing.T) {
	e := templated(func(e *event.Event) { e.Name = "a b|c>&d" })
	for link, want := range map[string]string{
		"https://grafana.example.com/d/x?ns={{ urlquery .Namespace }}&name={{ urlquery .Name }}": "🟡 *<https://grafana.example.com/d/x?ns=shop&amp;name=a+b%7Cc%3E%26d|UPDATE Deployment shop/a b¦c&gt;&amp;d>*",
		"http://argo/{{ pathescape .Object.metadata.labels.team }}":                              "🟡 *<http://argo/shop|UPDATE Deployment shop/a b¦c&gt;&amp;d>*",
		"https://x/|<>":                           "🟡 *<https://x/%7C%3C%3E|UPDATE Deployment shop/a b¦c&gt;&amp;d>*",
		"javascript:alert(1)":                     "🟡 *UPDATE Deployment shop/a b|c&gt;&amp;d*",
		"{{ .Object.metadata.annotations.link }}": "🟡 *UPDATE Deployment shop/a b|c&gt;&amp;d*",
		"https://x/{{ .Name }}":                   "🟡 *UPDATE Deployment shop/a b|c&gt;&amp;d*", // a space
		"/relative":                               "🟡 *UPDATE Deployment shop/a b|c&gt;&amp;d*",
		"https://x/?" + strings.Repeat("&", 500):  "🟡 *UPDATE Deployment shop/a b|c&gt;&amp;d*", // longer when escaped
		"https://x/" + strings.Repeat("a", 2000):  "🟡 *UPDATE Deployment shop/a b|c&gt;&amp;d*",
	} {
		require.Equal(t, want, blockTexts(t, postedBy(t, Config{Link: link}, e))[0], link)
	}
}

// A name of a Role may hold nearly anything, also what formats.
func TestANameThatWouldFormatIsShownAsItIs(t *testing.T) {
	e := templated(func(e *event.Event) { e.Name = "*a* _b_ ~c~ `d`" })
	var m shown
	require.NoError(t, json.Unmarshal(postedBy(t, Config{}, e), &m))
	require.Equal(t, "plain_text", m.Blocks[0].Text.Type)
	require.Equal(t, "🟡 UPDATE Deployment shop/*a* _b_ ~c~ `d`", m.Blocks[0].Text.Text)
}

func TestABodyMayBeEmpty(t *testing.T) {
	require.Equal(t, []string{"🟡 *UPDATE Deployment shop/web*"}, blockTexts(t, postedBy(t, Config{Body: "{{ with .Object.nothing }}x{{ end }}"}, templated(nil))))
}

// A mistake in a template withholds no news.
func TestATemplateThatFailsOnAnEventIsLeftOut(t *testing.T) {
	logs := captureLogs(t)
	const fails = "{{ slice .Name 0 99 }}"
	got := blockTexts(t, postedBy(t, Config{Title: fails, Body: fails, Link: fails}, templated(nil)))
	require.Equal(t, blockTexts(t, postedBy(t, Config{}, templated(nil))), got)
	require.Equal(t, 3, strings.Count(logs.String(), "a template fails"))

	endless := strings.Repeat("x", 1000)
	many := `{{ range .Object.a }}{{ range $.Object.a }}` + endless + `{{ end }}{{ end }}`
	e := templated(func(e *event.Event) { e.Object = json.RawMessage(`{"a":[` + strings.Repeat("1,", 999) + `1]}`) })
	require.Len(t, blockTexts(t, postedBy(t, Config{Body: many}, e)), 3, "a template cannot eat the memory")
}

func TestALongTextOfATemplateIsCutWhereItHarmsNothing(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"fits":             {"a\nb", "a\nb"},
		"lines":            {strings.Repeat("0123456789\n", 20) + "x", strings.TrimSuffix(strings.Repeat("0123456789\n", 9), "\n") + "\n… 12 more lines"},
		"a code block":     {"```\n" + strings.Repeat("0123456789\n", 20) + "```", "```\n" + strings.Repeat("0123456789\n", 8) + "```\n… 12 more lines"},
		"inside an escape": {strings.Repeat("x", 96) + "&amp;" + strings.Repeat("y", 20), strings.Repeat("x", 96) + "…\n… the last line is longer"},
		"inside a link":    {strings.Repeat("x", 80) + "<https://example.com/long|text>" + strings.Repeat("y", 20), strings.Repeat("x", 80) + "…\n… the last line is longer"},
		"runes":            {strings.Repeat("😀", 120), strings.Repeat("😀", 99) + "…\n… the last line is longer"},
	} {
		t.Run(name, func(t *testing.T) {
			got, whole := cutBody(c.text, 100)
			require.Equal(t, c.want, got)
			require.Equal(t, c.text == c.want, whole)
		})
	}
	require.Equal(t, "ab", cutMarkup("ab", 2))
	require.Equal(t, "a…", cutMarkup("a&amp;", 3))
}

// Whatever the parts of an event are, Slack takes the message and shows them as
// they are.
func FuzzMessage(f *testing.F) {
	f.Add("web", "a <!channel> & b", "```\n<@U1>", "{{ .Name }}", "*{{ .Diff.Summary }}*")
	f.Add("*_~`", strings.Repeat("&", 4000), strings.Repeat("`", 4000), "", "")
	f.Add("a|b>", "\u202e\x1b\x00", "\xff\xfe", "", "```{{ .Payload }}```")
	f.Fuzz(func(t *testing.T, name, summary, payload, title, body string) {
		l, err := newLayout(Config{Title: literal(title), Body: literal(body)})
		if err != nil {
			return
		}
		e := templated(func(e *event.Event) {
			e.Name, e.Diff.Summary, e.Cluster, e.ChangedBy[0].Manager = name, summary, name, summary
			e.Payload = event.TextPayload("text/plain", payload)
		})
		m := l.message(t.Context(), &e)
		posted, err := json.Marshal(slack.WebhookMessage{Text: m.text, Blocks: &slack.Blocks{BlockSet: m.blocks}})
		require.NoError(t, err)
		require.True(t, utf8.Valid(posted))
		requireShowable(t, posted)
	})
}

// literal is a template without markup of its own.
func literal(text string) string {
	return strings.NewReplacer("<", "", ">", "", "&", "", "`", "").Replace(text)
}
