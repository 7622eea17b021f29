package serve

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAFunctionWithTokensTakesNothingWithoutOne(t *testing.T) {
	const old, next = "0ld-token-0ld-token", "n3w-token-n3w-token"
	path := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(path, []byte(old+"\n"+next+"\n"), 0o600))
	t.Setenv("TOKEN_FILE", path)
	tokens, err := tokensOf()
	require.NoError(t, err)
	url, _ := start(t, admitted(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "function"+r.Header.Get("Authorization"))
	}), tokens))
	for given, want := range map[string]struct {
		status int
		says   string
	}{
		"Bearer " + old:   {200, "function"},
		"Bearer " + next:  {200, "function"},
		"":                {401, "the request has no token"},
		"Basic " + old:    {401, "the request has no token"},
		"Bearer n0-token": {401, "the token is not valid"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", given)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, want.status, resp.StatusCode, given)
		require.Contains(t, string(body), want.says)
		require.NotContains(t, string(body), "token-")
		if want.status == 401 {
			require.Equal(t, "Bearer", resp.Header.Get("WWW-Authenticate"))
			require.Equal(t, 1, strings.Count(string(body), "\n"), "one line")
		}
	}
	for _, open := range []string{"/healthz", "/readyz"} {
		status, _ := get(t, url+open)
		require.Equal(t, 200, status, "a probe has no token")
	}
}
