package chain

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

// Whatever an endpoint answers, the chain goes on with the event it asked about,
// stops, or fails.
func FuzzReply(f *testing.F) {
	in := eventtest.Sample(event.Update)
	header, body, err := event.Encode(&in)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(200, "application/json", string(body), in.ID, true)
	f.Add(200, "application/json", `{"continue":true,"payload":"x"}`, "", false)
	f.Add(200, "application/cloudevents+json", `{"specversion":"1.0"}`, "", false)
	f.Add(204, "", "", "", false)
	f.Add(200, "text/html", "<html>", "other", true)
	f.Fuzz(func(t *testing.T, status int, contentType, answer, id string, event bool) {
		if status < 200 || status > 299 || strings.ContainsAny(contentType+id, "\r\n") {
			t.Skip("the client refuses it, or it is a refusal")
		}
		resp := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(answer))}
		if event {
			for k, v := range header {
				if strings.HasPrefix(k, "Ce-") {
					resp.Header[k] = v
				}
			}
			resp.Header.Set("Ce-Id", id)
		}
		next, reason, err := reply(resp, &in)
		switch {
		case err != nil && (next != nil || strings.Contains(err.Error(), "\n")):
			t.Fatalf("%v and %q", next, err)
		case next != nil && (next.ID != in.ID || next.Subject != in.Subject || next.Source != in.Source || next.Type() != in.Type()):
			t.Fatalf("another event: %+v", next)
		case next != nil && reason != "":
			t.Fatal("it goes on, and says why it stops")
		}
	})
}
