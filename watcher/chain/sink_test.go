package chain

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
)

func TestASinkEndsWithAnySuccessAndItsReplyIsIgnored(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"202": answer(202, "", ""), "204": answer(204, "", ""), "200 with a page": answer(200, "text/html", "<html>"),
		"201 with a broken event": answer(201, cloudEvents, "{"), "more than is read": answer(200, "", strings.Repeat("x", 1<<20)),
		"a body that breaks off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "x")
		},
		"a body that never ends": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 64<<10))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan event.Event, 2)
			_, log := deliver(t, Config{Sink: true, Timeout: time.Minute, Extensions: map[string]string{"team": "shop", "traceparent": "x"}},
				func(w http.ResponseWriter, r *http.Request) {
					got <- received(t, r)
					h(w, r)
				}, change("web", 1))
			require.Empty(t, log.with(t, notDelivered))
			require.Empty(t, log.with(t, "chain stopped"), "a sink's 2xx is no stop")
			require.Len(t, got, 1)
			require.Equal(t, map[string]string{"team": "shop", "traceparent": "x"}, (<-got).Extensions)
		})
	}
}

func TestExtensionsOfTheConfigurationReachEveryStep(t *testing.T) {
	i := change("web", 1)
	i.event.Extensions = map[string]string{"own": "1"}
	got, _ := deliver(t, Config{Extensions: map[string]string{"team": "shop"}}, event.Handler(forward).ServeHTTP, i)
	require.Equal(t, []string{"own", "team"}, slices.Sorted(maps.Keys(got.Extensions)))
}
