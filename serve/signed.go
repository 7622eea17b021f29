package serve

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/signature"
)

// signed lets through to h what is signed with one of the keys, if there are any.
// The rest gets 401, which is no reason to try again: it goes to the dead letter.
func signed(h http.Handler, keys signature.Keys) http.Handler {
	if keys.Empty() {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, event.MaxBody+1))
		if err != nil {
			http.Error(w, "the body cannot be read", http.StatusRequestTimeout) // another attempt may bring it
			return
		}
		if len(body) > event.MaxBody {
			http.Error(w, "the body is larger than 8 MiB", http.StatusRequestEntityTooLarge)
			return
		}
		if err := keys.Verify(r.Header, body, time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		// What is signed is the body and an id: that of this event, not of another.
		if id := r.Header.Get("Ce-Id"); id != "" && id != r.Header.Get(signature.ID) {
			http.Error(w, "the signature is of another event: webhook-id is not ce-id", http.StatusUnauthorized)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.ServeHTTP(w, r)
	})
}
