package source

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/state"
)

// pastOf reads the past of a server that answers as answer does.
func pastOf(t *testing.T, answer http.HandlerFunc) *Past {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	codec, err := object.NewCompressor()
	require.NoError(t, err)
	st, err := state.Open(state.Config{Events: 100, Bytes: 1 << 30, Compressor: codec})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	scope := state.Scope{
		Cluster: "test", Resource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"},
		Kind: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"},
	}
	p := NewPast(Config{
		Client: restClient(t, &rest.Config{Host: server.URL}), State: st, Compressor: codec, Redactor: object.NewRedactor(st.Key(), nil),
		Watch: state.Watch{Name: "cm", Resource: scope.Resource, Kind: scope.Kind, Namespaced: true}, Scope: scope,
		NotServed: func() {}, Logger: slog.New(slog.DiscardHandler),
	})
	p.patience = time.Second
	return p
}

// Past.insist: a takeover must not wait for ever for one resource (B1).
func TestAPastThatIsNotGivenIsGivenUpAndOneOutOfReachIsNot(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		gone   bool
	}{
		"forbidden": {func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusForbidden, "Forbidden", "may not") }, true},
		"compacted": {func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusGone, "Expired", "compacted") }, true},
		"not found": {func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusNotFound, "NotFound", "no such path")
		}, true},
		"no list": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>hello</html>") }, true},
		"an error for all": {func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusInternalServerError, "InternalError", "x")
		}, true},
		"no answer": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			err := pastOf(t, tt.answer).Objects(ctx, "7", func([]*object.Object, bool) error { return nil })
			if tt.gone {
				var gone *GoneError
				require.ErrorAs(t, err, &gone)
				return
			}
			require.ErrorIs(t, err, context.DeadlineExceeded, "it may still come")
		})
	}
}
