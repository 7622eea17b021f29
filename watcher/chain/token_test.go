package chain

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/internal/bearer"
)

const token = "eyJ0b2tlbiI6MX0.c2VjcmV0.c2lnbmF0dXJl"

func openToken(t *testing.T) *bearer.Token {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(token+"\n"), 0o600))
	out, err := bearer.Open("KW_TOKEN_FILE", path, nil)
	require.NoError(t, err)
	return out
}

// requested are the Authorization headers that a server got.
type requested struct {
	mu  sync.Mutex
	all []string
}

func (s *requested) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, r.Header.Get("Authorization"))
	_, _ = io.WriteString(w, `{"continue":true}`)
	_, _ = io.Copy(io.Discard, r.Body)
}

func TestTheTokenGoesToEndpointsSinksAndDeadLettersAlone(t *testing.T) {
	endpoint, builtIn := &requested{}, &requested{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		endpoint.ServeHTTP(w, r)
	}))
	defer server.Close()
	local := Target{Name: "own", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		builtIn.ServeHTTP(w, r)
	})}
	c := start(t, Config{Steps: []Target{local, {URL: server.URL}}, Token: openToken(t)})
	c.push(change("web", 1))
	c.finish()
	require.Equal(t, []string{""}, builtIn.all, "what is built in is no endpoint")
	require.Equal(t, []string{"Bearer " + token}, endpoint.all)

	c = start(t, Config{Steps: steps(server.URL), Sink: true, Token: openToken(t)})
	post, err := c.NewPost(server.URL)
	require.NoError(t, err)
	defer post.Close()
	letter := eventtest.Sample(event.Update)
	require.NoError(t, post.Put(t.Context(), &letter))
	c.push(change("web", 2))
	c.finish()
	require.Equal(t, []string{"Bearer " + token, "Bearer " + token, "Bearer " + token}, endpoint.all)
}

func TestNoTokenIsEverLogged(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"permanent": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no such token: "+r.Header.Get("Authorization"), http.StatusUnauthorized)
		},
		"failing": func(w http.ResponseWriter, r *http.Request) { http.Error(w, r.Header.Get("Authorization"), 500) },
		"a reason to stop": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Kwatchman-Reason", r.Header.Get("Authorization"))
		},
		"a broken event": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Ce-Specversion", r.Header.Get("Authorization"))
		},
		"cut in two by the limit": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, strings.Repeat(token, 2*maxRefusal/len(token)))
		},
		"no HTTP": func(w http.ResponseWriter, r *http.Request) { hijack(t, w, r.Header.Get("Authorization")) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(h)
			defer server.Close()
			c := start(t, Config{Steps: steps(server.URL), RetryMax: 1, Token: openToken(t)})
			c.push(change("web", 1))
			c.finish()
			said := c.log.String()
			require.NotEmpty(t, said)
			require.NotContains(t, said, token[:12])

			var outcomes []Outcome
			c = prepare(t, Config{Steps: steps(server.URL), StopLevel: slog.LevelInfo, Token: openToken(t)})
			defer c.Release()
			e := eventtest.Sample(event.Update)
			c.Walk(t.Context(), &e, 0, true, func(o Outcome) { outcomes = append(outcomes, o) })
			require.Len(t, outcomes, 1)
			require.NotContains(t, outcomes[0].Reason, token[:12])
			if outcomes[0].Err != nil {
				require.NotContains(t, outcomes[0].Err.Error(), token[:12])
			}
		})
	}
}
