package serve

import (
	"log/slog"
	"net/http"
	"os"

	"github.com/kwatchman/kwatchman/internal/bearer"
)

// tokensOf reads the tokens that the environment names; nil: it names none.
func tokensOf() (*bearer.Tokens, error) {
	path := os.Getenv("TOKEN_FILE")
	if path == "" {
		return nil, nil
	}
	return bearer.OpenAll("TOKEN_FILE", path, func(err error) { slog.Error("tokens not renewed", "error", err) })
}

// admitted lets through to h what has one of the tokens, if there are any. The rest
// gets 401, as what is not signed does.
func admitted(h http.Handler, tokens *bearer.Tokens) http.Handler {
	if tokens == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := tokens.Check(r.Header); err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization") // a function has no use for it
		h.ServeHTTP(w, r)
	})
}
