package chain

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNoSecretOfAURLIsEverLogged(t *testing.T) {
	const user, password = "robot-7", "pässw0rd/?"
	const path, query = "/services/T0AAAAAAA/B0BBBBBBB/cccccccccccccccccccccccc", "key=qqqqqqqq&sig=a%2Fb%3Dcdefg"
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	secrets := []string{
		user, password, url.QueryEscape(password), url.PathEscape(password), basic, path,
		"T0AAAAAAA", "B0BBBBBBB", "cccccccc", "qqqqqqqq", "a%2Fb%3Dcdefg", "a/b=cdefg",
	}
	// What error pages and proxies do: repeat the request.
	gossip := func(r *http.Request) string {
		return "Cannot POST " + r.URL.String() + " (" + r.URL.Path + ", " + r.RequestURI + ") " + r.Header.Get("Authorization") +
			" " + r.FormValue("sig") + " token=" + r.URL.Query().Get("key") + " last=" + r.URL.Path[strings.LastIndex(r.URL.Path, "/"):] +
			" http://" + user + ":" + url.PathEscape(password) + "@" + r.Host + r.RequestURI + " " + password
	}
	refuse := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Error(w, gossip(r), status) }
	}
	for name, h := range map[string]http.HandlerFunc{
		"permanent": refuse(400), "not found": refuse(404), "failing": refuse(500),
		"paused": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "100")
			http.Error(w, gossip(r), http.StatusTooManyRequests)
		},
		"cut in two by the limit": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, strings.Repeat("x", 270)+r.RequestURI)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.RequestURI+"/")
			http.Error(w, gossip(r), http.StatusFound)
		},
		"broken redirect": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://[bad"+r.RequestURI)
			w.WriteHeader(307)
		},
		"a page":           func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, gossip(r)) },
		"a type":           func(w http.ResponseWriter, r *http.Request) { answer(200, "text/"+gossip(r), "x")(w, r) },
		"a reason to stop": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Kwatchman-Reason", gossip(r)) },
		"a broken event":   func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Ce-Specversion", gossip(r)) },
		"an attribute": func(w http.ResponseWriter, r *http.Request) {
			answer(200, cloudEvents, `{"specversion":"1.0","Token `+r.URL.Query().Get("key")+`":1}`)(w, r)
		},
		"timeout":  func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body); <-r.Context().Done() },
		"hang up":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"no HTTP":  func(w http.ResponseWriter, r *http.Request) { hijack(t, w, gossip(r)) },
		"no chunk": func(w http.ResponseWriter, r *http.Request) { hijack(t, w, "HTTP/1.1 200 "+gossip(r)+"\r\n"+gossip(r)) },
		"success":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"closed":   nil,
		"not TLS":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(h)
			defer server.Close()
			defer server.CloseClientConnections()
			scheme := "http"
			switch name {
			case "closed":
				server.Close()
			case "not TLS":
				scheme = "https"
			}
			target := scheme + "://" + url.UserPassword(user, password).String() + "@" + server.Listener.Addr().String() + path + "?" + query
			c := start(t, Config{Steps: steps(target), RetryMax: 1, Timeout: 200 * time.Millisecond})
			c.push(change("web", 1))
			if name == "paused" {
				c.asleep(1)
				c.cutOff()
			} else {
				c.finish()
			}
			said := c.log.String()
			require.NotEmpty(t, said)
			for _, secret := range secrets {
				require.NotContains(t, said, secret)
			}
			require.Contains(t, said, "1 "+scheme+"://"+server.Listener.Addr().String(), "the step is named")
		})
	}
}

func hijack(t *testing.T, w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(conn, text)
	_ = conn.Close()
}

func TestABadURLIsAnErrorThatDoesNotShowIt(t *testing.T) {
	for _, target := range []string{
		"", "tok3n", "ftp://tok3n@host/", "http://", "http:///tok3n", "http://host/tok3n#x", "http://host:port/tok3n",
		"http://user:tok3n@[::1/", "http://host/\ntok3n", "//host/tok3n", "http://host/%zz?tok3n",
	} {
		_, err := New(Config{Steps: steps("http://ok", target)})
		require.EqualError(t, err, "step 2 is no URL: want http://host:port/path or https://host/path", target)
	}
}

func TestWhatAnEndpointSaysStaysReadable(t *testing.T) {
	c := prepare(t, Config{Steps: steps("http://functions:8080/diff?mode=on")})
	require.Equal(t, "diff: mode is on /diff, line  two", c.steps[0].sanitize("diff: mode is on /diff, line\r\ntwo\n"))
}

func TestCertificatesToTrustHaveToBePEM(t *testing.T) {
	_, err := New(Config{Steps: steps("https://ok"), CACerts: "no PEM"})
	require.EqualError(t, err, "K_CA_CERTS: holds no PEM certificate")
}

func TestTheGivenCertificatesAreTrusted(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) }))
	defer server.Close()
	for certs, delivered := range map[string]bool{pemOf(server): true, "": false} {
		c := start(t, Config{Steps: steps(server.URL), Sink: true, CACerts: certs, RetryMax: 1})
		c.push(change("web", 1))
		c.finish()
		require.Equal(t, delivered, len(c.log.with(t, notDelivered)) == 0)
	}
}
