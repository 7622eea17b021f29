package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/conform"
	"github.com/kwatchman/kwatchman/internal/templates"
)

// caller makes requests of events and sends them.
type caller struct {
	cfg     Config
	url     *templates.Template
	headers []header
	// presetLines are how many lines of the configured headers are the preset's.
	presetLines int
	body        *templates.Template
	whole       bool
	isJSON      bool // the body
	success     []codes
	hosts       []string
	secrets     *secrets
	client      *http.Client
}

// header is one of a request, as a template.
type header struct {
	name  string
	value *templates.Template // nil: empty
}

// request is what is sent for an event.
type request struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
	hide   func(string) string
}

func newCaller(cfg Config) (*caller, error) {
	p, err := cfg.fill()
	if err != nil {
		return nil, err
	}
	c := &caller{cfg: cfg, whole: p.whole, presetLines: 1 + strings.Count(p.headers, "\n"), secrets: &secrets{cfg: cfg, seen: map[string]string{}}}
	if cfg.Timeout <= 0 {
		return nil, errors.New("WEBHOOK_TIMEOUT: bad value: want a duration such as 10s")
	}
	if cfg.Reply != "ignore" && cfg.Reply != "handler" {
		return nil, errors.New("WEBHOOK_REPLY: bad value: want ignore or handler")
	}
	if c.cfg.Method = strings.ToUpper(strings.TrimSpace(cfg.Method)); c.cfg.Method == "" {
		c.cfg.Method = http.MethodPost
	}
	if !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodGet, http.MethodDelete}, c.cfg.Method) {
		return nil, errors.New("WEBHOOK_METHOD: bad value: want POST, PUT, PATCH, GET or DELETE")
	}
	if c.success, err = parseCodes(cfg.Success); err != nil {
		return nil, err
	}
	if err := c.secrets.check(); err != nil {
		return nil, err
	}
	if err := c.parse(); err != nil {
		return nil, err
	}
	if c.hosts, err = allowed(cfg); err != nil {
		return nil, err
	}
	c.client = newClient(c.hosts, cfg)
	return c, nil
}

// parse reads the templates.
func (c *caller) parse() (err error) {
	of := func(variable, text, output string) (*templates.Template, error) {
		all := functions()
		all["credential"] = c.secrets.credential
		return templates.New(variable, text, templates.Options{Functions: all, Output: output, Fields: []string{"Token"}})
	}
	if c.url, err = of("WEBHOOK_URL", c.cfg.URL, "inURL"); err != nil {
		return err
	}
	set := map[string]int{} // a later header goes over an earlier
	for i, line := range strings.Split(c.cfg.Headers, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
		if !ok || !isToken(name) || name == "Host" || name == "Content-Length" {
			return fmt.Errorf("WEBHOOK_HEADERS: line %d: want Name: value", i-c.presetLines+1)
		}
		h := header{name: name}
		if h.value, err = of("WEBHOOK_HEADERS: "+name, strings.TrimSpace(value), "inHeader"); err != nil {
			return err
		}
		if name == "Content-Type" {
			media, _, _ := mime.ParseMediaType(value)
			c.isJSON = media == "application/json" || strings.HasSuffix(media, "+json")
		}
		if at, again := set[name]; again {
			c.headers[at] = h
			continue
		}
		set[name] = len(c.headers)
		c.headers = append(c.headers, h)
	}
	if c.whole || strings.TrimSpace(c.cfg.Body) == "" {
		return nil
	}
	output := "plain"
	if c.isJSON {
		output = "inJSON"
	}
	c.body, err = of("WEBHOOK_BODY", c.cfg.Body, output)
	return err
}

func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// try makes the requests of samples, so that a mistake shows at the start.
func (c *caller) try() error {
	for _, action := range []event.Action{event.Add, event.Update, event.Delete} {
		e := conform.Sample(action)
		e.Diff = &event.Diff{Summary: "image of web 1.4.2 → 1.5.0", Changes: []event.FieldChange{{Op: "replace", Path: "spec.replicas", From: 2, To: 3}}}
		e.Payload = event.TextPayload("text/x-diff", "-a \"b\"\n+c\n")
		if _, err := c.request(&e); err != nil {
			return fmt.Errorf("%w (tried with the %s of a Deployment)", err, action)
		}
	}
	return nil
}

// request makes the request of an event. Its error holds no secret.
func (c *caller) request(e *event.Event) (*request, error) {
	token, err := c.secrets.token()
	if err != nil {
		return nil, err
	}
	d := templates.NewData(e, e.Cluster)
	d["Token"] = token
	r := &request{method: c.cfg.Method, header: http.Header{}}
	if err := c.write(r, d, e); err != nil {
		return nil, err
	}
	target, err := c.url.Text(d)
	if err != nil {
		return nil, err
	}
	if r.url, err = url.Parse(strings.TrimSpace(target)); err != nil || r.url.Scheme != "http" && r.url.Scheme != "https" || r.url.Hostname() == "" {
		return nil, errors.New("WEBHOOK_URL: bad value: want an absolute http or https URL")
	}
	if !permitted(c.hosts, r.url) {
		return nil, fmt.Errorf("WEBHOOK_URL: host %.100q is not in WEBHOOK_ALLOW_HOSTS", r.url.Host)
	}
	if token != "" && r.header.Get("Authorization") == "" && !strings.Contains(c.cfg.URL+c.cfg.Headers+c.cfg.Body, ".Token") {
		r.header.Set("Authorization", "Bearer "+token)
	}
	r.hide = c.secrets.hider(token, r)
	return r, nil
}

// write fills in headers and body.
func (c *caller) write(r *request, d templates.Data, e *event.Event) (err error) {
	if c.whole {
		if r.header, r.body, err = event.Encode(e); err != nil {
			return err
		}
	}
	for _, h := range c.headers {
		value := ""
		if h.value != nil {
			if value, err = h.value.Text(d); err != nil {
				return err
			}
		}
		r.header.Set(h.name, strings.TrimSpace(value))
	}
	if c.body == nil {
		return nil
	}
	text, err := c.body.Text(d)
	if err != nil {
		return err
	}
	r.body = []byte(text)
	if !c.isJSON {
		return nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, r.body); err != nil {
		var v any
		return fmt.Errorf("WEBHOOK_BODY gives no JSON: %s", place(json.Unmarshal(r.body, &v), r.body)) // Compact does not say where
	}
	r.body = compact.Bytes()
	return nil
}

// place says where JSON is broken, without what stands there: it may be a part
// of a manifest.
func place(err error, body []byte) string {
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		line := 1 + bytes.Count(body[:min(int(s.Offset), len(body))], []byte("\n"))
		return fmt.Sprintf("syntax error in line %d", line)
	}
	return "syntax error"
}

// String is the request for people, without secrets.
func (r *request) String() string {
	var b strings.Builder
	path := ""
	if r.url.Path != "" && r.url.Path != "/" || r.url.RawQuery != "" {
		path = "/…" // may be a secret
	}
	fmt.Fprintf(&b, "%s %s://%s%s\n", r.method, r.url.Scheme, r.url.Host, path)
	names := make([]string, 0, len(r.header))
	for name := range r.header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, r.hide(r.header.Get(name)))
	}
	body := r.body
	var indented bytes.Buffer
	if json.Indent(&indented, body, "", "  ") == nil {
		body = indented.Bytes()
	}
	fmt.Fprintf(&b, "\n%s\n", r.hide(string(body)))
	return b.String()
}
