package webhook

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	flag.Parse()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

const token = "t0k-very-secret"

func with(edit func(*Config)) Config {
	cfg := Default()
	cfg.AllowLocal = true
	edit(&cfg)
	return cfg
}

func newWebhook(t *testing.T, cfg Config) event.Handler {
	t.Helper()
	h, err := New(cfg)
	require.NoError(t, err)
	return h
}

// api is an endpoint that keeps what it gets.
type api struct {
	*httptest.Server
	mu     sync.Mutex
	got    []*http.Request
	bodies []string
}

func newAPI(t *testing.T, answer http.HandlerFunc) *api {
	t.Helper()
	a := &api{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		a.mu.Lock()
		a.got, a.bodies = append(a.got, r), append(a.bodies, string(body))
		a.mu.Unlock()
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(func() { a.CloseClientConnections(); a.Close() })
	return a
}

// change is an event behind the function diff, with all that could end a string,
// a block of code or a line.
func change(action event.Action) event.Event {
	e := eventtest.Sample(action)
	e.Diff = &event.Diff{Summary: `image of web 1.4.2 → "1.5.0", [x](http://evil.example) @channel`, Changes: []event.FieldChange{{Op: "replace", Path: "spec.replicas", From: 2, To: 3}}}
	e.Payload = event.TextPayload("text/x-diff; charset=utf-8", "--- a\n+++ b\n@@ -1 +1 @@\n-image: \"web:1.4.2\"\n+image: web:1.5.0 ```@everyone </script> \\ \u2028\n")
	return e
}

func TestKeepsTheProtocol(t *testing.T) {
	a := newAPI(t, nil)
	eventtest.Run(t, eventtest.Target{
		Handler:   newWebhook(t, with(func(c *Config) { c.URL, c.Token = a.URL+"/hook/"+token, token })),
		Continues: eventtest.Sample(event.Update), Secrets: []string{token},
	})
	bridge := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("Ce-Type"), ".delete") {
			_, _ = io.WriteString(w, `{"continue": false}`)
			return
		}
		_, _ = io.WriteString(w, `{"continue": true, "payload": "seen"}`)
	})
	eventtest.Run(t, eventtest.Target{
		Handler:   newWebhook(t, with(func(c *Config) { c.URL, c.Preset = bridge.URL, "handler" })),
		Continues: eventtest.Sample(event.Update), Stops: new(eventtest.Sample(event.Delete)),
	})
}

// The requests of the presets, as the services get them.
func TestPresetsMakeTheRequestsOfTheirServices(t *testing.T) {
	for name := range presets {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			c, err := newCaller(with(func(c *Config) { c.Preset, c.URL, c.Token = name, "https://api.example.com/hook", token }))
			require.NoError(t, err)
			for _, action := range []event.Action{event.Add, event.Update, event.Delete} {
				e := change(action)
				r, err := c.request(&e)
				require.NoError(t, err)
				fmt.Fprintf(&b, "-- %s --\n%s\n", action, r)
			}
			golden(t, filepath.Join("testdata", name+".txt"), b.String())
			require.NotContains(t, b.String(), token)
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "go test ./functions/webhook -update writes it anew")
}

func TestLongDiffsFitAndSayWhatIsLeftOut(t *testing.T) {
	e := change(event.Update)
	e.Diff.Summary = strings.Repeat("ü", 10_000)
	e.Payload = event.TextPayload("text/x-diff", strings.Repeat("+ß\"\n", 60_000))
	for name, most := range map[string]int{"discord": 6000 * 4, "mattermost": 16383 * 4, "teams": 28 << 10, "pagerduty": 512 << 10, "github": 64 << 10, "grafana": 64 << 10, "alertmanager": 1 << 20} {
		c, err := newCaller(with(func(c *Config) { c.Preset, c.URL, c.Token = name, "https://api.example.com/hook", token }))
		require.NoError(t, err)
		r, err := c.request(&e)
		require.NoError(t, err)
		require.Less(t, len(r.body), most, name)
		require.Contains(t, string(r.body), "characters left out)", name)
	}
}

func TestARequestIsMadeOfTemplates(t *testing.T) {
	a := newAPI(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "user"), []byte("ann\n"), 0o600))
	h := newWebhook(t, with(func(c *Config) {
		c.URL = a.URL + "/{{ .Namespace }}/{{ .Object.metadata.annotations.team }}?who={{ .Who }}&none={{ .Object.metadata.nothing.at.all }}"
		c.Method, c.CredentialsDir = "put", dir
		c.Headers = "Authorization: Basic {{ printf \"%s:%s\" (credential \"user\") .Token | b64enc }}\nX-Kind: {{ .Kind | upper }}\nX-Odd: {{ .Payload }}\nContent-Type: application/vnd.x+json"
		c.Body = `{"a": "{{ .Payload }}", "b": {{ json .Object.spec }}, "n": {{ .Object.spec.replicas }}, "none": "{{ .Object.nothing.more }}", "list": {{ toJson .Diff.Changes }}}`
		c.Token, c.Success = token, []string{"202"}
	}))
	e := change(event.Update)
	got, err := h(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, e, *got, "the event continues unchanged")
	r := a.got[0]
	require.Equal(t, http.MethodPut, r.Method)
	require.Equal(t, "/shop/checkout%20%26%20%3Cpayments%3E?who=kubectl-edit&none=", r.RequestURI)
	user, password, ok := r.BasicAuth()
	require.True(t, ok)
	require.Equal(t, []string{"ann", token}, []string{user, password})
	require.Equal(t, "DEPLOYMENT", r.Header.Get("X-Kind"))
	require.NotContains(t, r.Header.Get("X-Odd"), "\n")
	require.Contains(t, a.bodies[0], `"n":3,"none":""`)
	require.Contains(t, a.bodies[0], `"list":[{"From":2,"Op":"replace","Path":"spec.replicas","To":3}]`)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "user"), []byte("bob"), 0o600))
	_, err = h(t.Context(), e)
	require.NoError(t, err)
	user, _, _ = a.got[1].BasicAuth()
	require.Equal(t, "bob", user, "a new credential is used at once")
}

func TestATokenIsABearerUnlessSomethingElseIsSaid(t *testing.T) {
	a := newAPI(t, nil)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	for want, edit := range map[string]func(*Config){
		"Bearer " + token: func(c *Config) { c.TokenFile = file },
		"key":             func(c *Config) { c.Token, c.Headers = token, "authorization: key" },
		"":                func(c *Config) { c.Token, c.URL = token, a.URL+"/{{ .Token }}" },
	} {
		h := newWebhook(t, with(func(c *Config) { c.URL = a.URL; edit(c) }))
		_, err := h(t.Context(), change(event.Add))
		require.NoError(t, err)
		require.Equal(t, want, a.got[len(a.got)-1].Header.Get("Authorization"))
	}
}

func TestAnAnswerThatIsNoSuccessIsTriedAgainOrNotAndHidesSecrets(t *testing.T) {
	for status, want := range map[int]int{
		400: 422, 401: 422, 403: 422, 422: 422, 413: 422, 301: 422, 302: 422, 304: 422,
		404: 503, 408: 503, 409: 503, 500: 503, 502: 503, 429: 429, 503: 503,
	} {
		a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, "no such hook: %s\n%s %s", r.RequestURI, r.Header.Get("Authorization"), strings.Repeat("x", 1000))
		})
		h := newWebhook(t, with(func(c *Config) { c.URL, c.Token = a.URL+"/services/"+token+"?key="+token, token }))
		_, err := h(t.Context(), change(event.Update))
		e, ok := err.(*event.Error) //nolint:errorlint // its own
		require.True(t, ok, "%d: %v", status, err)
		require.Equal(t, want, e.Status, status)
		require.Contains(t, err.Error(), fmt.Sprint("answered ", status))
		require.NotContains(t, err.Error(), token)
		require.Less(t, len(err.Error()), 400)
		if status == 429 || status == 503 {
			require.Equal(t, 7*time.Second, e.RetryAfter)
		} else {
			require.Zero(t, e.RetryAfter)
		}
		require.Len(t, a.got, 1, "one attempt, and no redirect")
	}
	require.Equal(t, 5*time.Minute, min(retryAfter("1e300"), maxWait))
	require.Zero(t, retryAfter("-3"))
	require.InDelta(t, time.Hour, retryAfter(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)), float64(2*time.Second))
	require.Equal(t, 1500*time.Millisecond, retryAfter("1.5"))
}

func TestRedirectsGoToTheSameHostOnlyAndKeepTheMethod(t *testing.T) {
	other := newAPI(t, nil)
	a := newAPI(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/same":
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
		case "/other":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/post":
			http.Redirect(w, r, "/there", http.StatusSeeOther)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusPermanentRedirect)
		}
	})
	for path, want := range map[string]struct {
		requests int
		fails    bool
	}{"/same": {2, false}, "/other": {1, true}, "/post": {1, true}, "/round": {4, true}} {
		a.got = nil
		_, err := newWebhook(t, with(func(c *Config) { c.URL, c.AllowHosts = a.URL+path, []string{"127.0.0.1"} }))(t.Context(), change(event.Update))
		require.Equal(t, want.fails, err != nil, path)
		require.Len(t, a.got, want.requests, path)
		for _, r := range a.got {
			require.Equal(t, http.MethodPost, r.Method)
		}
	}
	require.Empty(t, other.got)
}

func TestThisMachineAndItsLinkAreNotReachedUnlessAllowed(t *testing.T) {
	a := newAPI(t, nil)
	_, port, _ := strings.Cut(strings.TrimPrefix(a.URL, "http://"), ":")
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "127.8.9.1", "[::ffff:0:0]"} {
		h := newWebhook(t, with(func(c *Config) { c.URL, c.AllowLocal, c.Timeout = "http://"+host+":"+port, false, 5*time.Second }))
		_, err := h(t.Context(), change(event.Update))
		require.ErrorContains(t, err, "this machine or link-local: WEBHOOK_ALLOW_LOCAL=true allows it", host)
		require.Equal(t, event.StatusPermanent, err.(*event.Error).Status) //nolint:errorlint,forcetypeassert // its own
	}
	require.Empty(t, a.got)
	for address, want := range map[string]bool{
		"169.254.169.254": true, "fe80::1": true, "fe80::1%eth0": true, "::ffff:169.254.169.254": true, "64:ff9b::a9fe:a9fe": true,
		"224.0.0.1": true, "ff02::1": true, "0.1.2.3": true, "::": true, "::1": true,
		"fd00:ec2::254": true, "100.100.100.200": true, "::ffff:168.63.129.16": true, "192.0.0.192": true,
		"10.1.2.3": false, "192.168.1.1": false, "172.16.0.1": false, "8.8.8.8": false, "fd00::1": false, "2001:db8::1": false,
	} {
		require.Equal(t, want, local(netip.MustParseAddr(address)), address)
	}
}

func TestOnlyAllowedHostsAreReached(t *testing.T) {
	for target, hosts := range map[string]string{
		"https://a.example.com/x": "a.example.com", "https://A.example.com:8443/": "a.example.com", "https://b.example.com": "*.example.com",
		"https://x.y.example.com": "*.example.com", "http://a:80": "a:80", "http://[::2]/": "::2", "https://a.example.com./": "a.example.com",
	} {
		u, err := url.Parse(target)
		require.NoError(t, err)
		require.True(t, permitted([]string{hosts}, u), target)
	}
	for target, hosts := range map[string]string{
		"https://example.com": "*.example.com", "https://evilexample.com": "*.example.com", "http://a:81": "a:80", "http://aa": "a",
		"https://a.example.com.evil.com": "a.example.com", "https://a.example.com@evil.com": "a.example.com",
	} {
		u, err := url.Parse(target)
		require.NoError(t, err)
		require.False(t, permitted([]string{hosts}, u), target)
	}
	h := newWebhook(t, with(func(c *Config) {
		c.URL, c.AllowHosts = "http://{{ .Object.metadata.labels.app }}.example.com/", []string{"web.example.com", ".example.com"}
	}))
	e := change(event.Update)
	e.Object = []byte(`{"metadata":{"labels":{"app":"evil.com/x?"}}}`)
	_, err := h(t.Context(), e)
	require.Error(t, err)
	require.Equal(t, event.StatusPermanent, err.(*event.Error).Status) //nolint:errorlint,forcetypeassert // its own
}

func TestTheBridgeTurnsAPlainAnswerIntoAnEvent(t *testing.T) {
	answers := map[string]func(w http.ResponseWriter){
		"text":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"continue":true,"payload":"hello"}`) },
		"json":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"continue":true,"payload":{"a":[1]}}`) },
		"keeps": func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"continue":true}`) },
		"stops": func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"continue":false}`) },
		"nothing": func(w http.ResponseWriter) {
			w.Header().Set(event.ReasonHeader, "quiet hours")
			w.WriteHeader(http.StatusNoContent)
		},
		"garbage": func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") },
		"broken":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"continue":tr`) },
		"endless": func(w http.ResponseWriter) {
			for range 200 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		},
		"another event": func(w http.ResponseWriter) {
			e := eventtest.Sample(event.Add)
			event.Handler(nil).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			header, body, _ := event.Encode(&e)
			for k, v := range header {
				w.Header()[k] = v
			}
			_, _ = w.Write(body)
		},
	}
	var which atomic.Value
	a := newAPI(t, func(w http.ResponseWriter, _ *http.Request) { answers[which.Load().(string)](w) })
	h := newWebhook(t, with(func(c *Config) { c.URL, c.Preset = a.URL, "handler" }))
	e := change(event.Update)
	for name, want := range map[string]string{
		"text": "hello", "json": `{"a":[1]}`, "keeps": e.Payload.Text(),
		"stops": "stop: the endpoint says continue: false", "nothing": "stop: quiet hours",
		"garbage": "breaks the contract: neither a CloudEvent nor JSON", "broken": "breaks the contract", "endless": "is larger than 8388608 bytes",
		"another event": "breaks the contract: id was changed",
	} {
		which.Store(name)
		got, err := h(t.Context(), e)
		if err != nil {
			require.ErrorContains(t, err, want, name)
			continue
		}
		require.Equal(t, want, got.Payload.Text(), name)
	}
	require.Equal(t, e.ID, a.got[0].Header.Get("Ce-Id"), "the endpoint gets what a step gets")
}

func TestAHostileEndpointHoldsNothingUp(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"slow": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"slow body": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				time.Sleep(time.Millisecond)
			}
		},
		"huge headers": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) },
		"no HTTP": func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
				_, _ = io.WriteString(conn, "hello\r\n\r\n")
				_ = conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, answer)
			h := newWebhook(t, with(func(c *Config) { c.URL, c.Timeout = a.URL+"/"+token, 100*time.Millisecond }))
			_, err := h(t.Context(), change(event.Update))
			e, ok := err.(*event.Error) //nolint:errorlint // its own
			require.True(t, ok, "%v", err)
			require.GreaterOrEqual(t, e.Status, 500)
			require.NotContains(t, err.Error(), token)
		})
	}
}

func TestARehearsalSendsNothingAndHidesSecrets(t *testing.T) {
	a := newAPI(t, nil)
	h := newWebhook(t, with(func(c *Config) {
		c.Preset, c.URL, c.Token = "pagerduty", a.URL+"/"+token, token
		c.Headers = "X-Token: {{ .Token }}"
	}))
	var said string
	e := change(event.Update)
	got, err := h(event.Rehearse(t.Context(), func(text string) { said += text }), e)
	require.NoError(t, err)
	require.Equal(t, e, *got)
	require.Empty(t, a.got)
	require.Contains(t, said, "POST "+a.URL+"/…\n")
	require.Contains(t, said, `"event_action": "trigger"`)
	require.NotContains(t, said, token)
}

func TestAMistakeStopsTheStartWithOneLine(t *testing.T) {
	for want, edit := range map[string]func(*Config){
		"WEBHOOK_URL is not set: want the URL of the API":                                                         func(c *Config) { c.URL = "" },
		`WEBHOOK_PRESET: unknown preset "slak"`:                                                                   func(c *Config) { c.Preset = "slak" },
		"WEBHOOK_TOKEN is not set: pagerduty wants the integration's routing key, in it or in WEBHOOK_TOKEN_FILE": func(c *Config) { c.Preset, c.URL = "pagerduty", "" },
		"WEBHOOK_URL: bad value: want an absolute http or https URL":                                              func(c *Config) { c.URL = "ftp://a.example/" + token },
		"WEBHOOK_ALLOW_HOSTS is not set: a template decides of the host":                                          func(c *Config) { c.URL = "https://{{ .Cluster }}.example.com/" + token },
		"WEBHOOK_ALLOW_HOSTS: \"http://a\" is no host":                                                            func(c *Config) { c.AllowHosts = []string{"http://a"} },
		"WEBHOOK_URL: host \"a.example\" is not in WEBHOOK_ALLOW_HOSTS":                                           func(c *Config) { c.AllowHosts = []string{"b.example"} },
		"WEBHOOK_METHOD: bad value: want POST, PUT, PATCH, GET or DELETE":                                         func(c *Config) { c.Method = "BREW" },
		"WEBHOOK_HEADERS: line 2: want Name: value":                                                               func(c *Config) { c.Headers = "X: y\nnothing" },
		"WEBHOOK_BODY: bad template":                                                                              func(c *Config) { c.Body = "{{ nothing }}" },
		`WEBHOOK_BODY: unknown field "Kindd": did you mean Kind?`:                                                 func(c *Config) { c.Body = "{{ .Kindd }}" },
		"WEBHOOK_BODY gives no JSON: syntax error in line 2 (tried with the Add of a Deployment)":                 func(c *Config) { c.Body = "{\n\"a\": {{ .Name }}}" },
		"WEBHOOK_SUCCESS: bad value: want status codes such as 200,202 or 200-299":                                func(c *Config) { c.Success = []string{"ok"} },
		"WEBHOOK_REPLY: bad value: want ignore or handler":                                                        func(c *Config) { c.Reply = "x" },
		"WEBHOOK_TIMEOUT: bad value":                                                                              func(c *Config) { c.Timeout = -1 },
		"WEBHOOK_TOKEN_FILE: no such file or directory":                                                           func(c *Config) { c.TokenFile = "/nowhere" },
		"WEBHOOK_TOKEN and WEBHOOK_TOKEN_FILE are both set: want one of them":                                     func(c *Config) { c.Token, c.TokenFile = token, "/nowhere" },
		"WEBHOOK_CREDENTIALS_DIR: is no folder":                                                                   func(c *Config) { c.CredentialsDir = "/nowhere" },
		"WEBHOOK_CREDENTIALS_DIR is not set":                                                                      func(c *Config) { c.Body = `{"a": "{{ credential "x" }}"}` },
		"want the name of a file in WEBHOOK_CREDENTIALS_DIR":                                                      func(c *Config) { c.CredentialsDir, c.Body = "/", `{"a": "{{ credential "../etc/passwd" }}"}` },
		"function \"env\" not defined":                                                                            func(c *Config) { c.Body = `{"a": "{{ env "HOME" }}"}` },
		"function \"now\" not defined":                                                                            func(c *Config) { c.Body = `{"a": "{{ now }}"}` },
		"WEBHOOK_BODY is set: the preset handler sends the event as it is":                                        func(c *Config) { c.Preset, c.Body = "handler", "x" },
	} {
		_, err := New(with(func(c *Config) { c.URL = "https://a.example/"; edit(c) }))
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
		require.NotContains(t, err.Error(), token)
	}
}

// Whatever stands in an event, each preset gives JSON with its own shape.
func FuzzBodyIsJSON(f *testing.F) {
	f.Add("web\"\n", "a → \\\"b\", \"x\": {{ .Token }}", "-a\x00\n+b ``` \u2028", "kubectl")
	f.Add("", "", "", "")
	var all []*caller
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range presets {
			if !presets[n].whole && !yield(n) {
				return
			}
		}
	}) {
		c, err := newCaller(with(func(c *Config) { c.Preset, c.URL, c.Token = name, "https://api.example.com/hook", token }))
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, c)
	}
	f.Fuzz(func(t *testing.T, name, summary, payload, who string) {
		e := eventtest.Sample(event.Update)
		e.Name, e.Namespace, e.Cluster, e.Kind = name, name, name, name
		e.Diff = &event.Diff{Summary: summary}
		e.Payload = event.TextPayload("text/plain", payload)
		e.ChangedBy = []event.Manager{{Manager: who}}
		for _, c := range all {
			r, err := c.request(&e)
			require.NoError(t, err, c.cfg.Preset)
			require.NotContains(t, r.String(), token)
		}
	})
}

// Any text is a template or an error of one line.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{`{"a": "{{ .Name }}"}`, "{{ range .Diff.Changes }}{{ .Path }}{{ end }}", "{{ repeat 1000 .Name }}", "{{", `{{ credential "x" }}`, `{{ .Token | b64enc | raw }}`} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, target, body string) {
		if strings.Contains(target+body, "repeat") || strings.Contains(target+body, "until") || strings.Contains(target+body, "seq") {
			return // they take the memory that the template's author asks for
		}
		_, err := New(with(func(c *Config) { c.URL, c.Body, c.Token = "https://a.example/"+target, body, token }))
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
		}
	})
}

// Any answer of a handler is one of the contract or an error.
func FuzzPlainReply(f *testing.F) {
	f.Add([]byte(`{"continue":true,"payload":"x"}`))
	f.Add([]byte(`{"continue":null}`))
	f.Add([]byte("<html>"))
	c, err := newCaller(with(func(c *Config) { c.URL, c.Preset = "https://a.example/", "handler" }))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e := change(event.Update)
		r, err := c.request(&e)
		require.NoError(t, err)
		got, err := c.reply(r, &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(body)))}, &e)
		require.NotEqual(t, got != nil, err != nil)
	})
}

// The request in docs/webhook.md is one, and its table has every preset.
func TestTheDocumentIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/webhook.md")
	require.NoError(t, err)
	for name := range presets {
		require.Contains(t, string(text), "\n| `"+name+"` |")
	}
	setting := func(name string) string {
		_, after, ok := strings.Cut(string(text), "export "+name+"='")
		require.True(t, ok)
		value, _, _ := strings.Cut(after, "'")
		return value
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "user"), []byte("ann"), 0o600))
	c, err := newCaller(with(func(c *Config) {
		c.URL, c.Headers, c.Body = setting("WEBHOOK_URL"), setting("WEBHOOK_HEADERS"), setting("WEBHOOK_BODY")
		c.Token, c.CredentialsDir = token, dir
	}))
	require.NoError(t, err)
	e := change(event.Update)
	r, err := c.request(&e)
	require.NoError(t, err)
	require.Equal(t, "https://tickets.example.com/api/shop", r.url.String())
	require.Contains(t, string(r.body), `"team":"nobody","replicas":3,"changes":[{"From":2,"Op":"replace","Path":"spec.replicas","To":3}]}`)
}
