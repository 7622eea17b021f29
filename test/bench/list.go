package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// buffered is how much is written at once, as the real API server frames it.
const buffered = 16 << 10

// list answers with a page. The objects are those before the events, so once
// events were sent only the version of the state is told, as a list of one
// object asks for.
func (s *recordedServer) list(w http.ResponseWriter, query url.Values) {
	objects, played, version := s.state()
	limit, _ := strconv.Atoi(query.Get("limit")) // none: all
	from, _ := strconv.Atoi(query.Get("continue"))
	to := objects
	if limit > 0 {
		to = min(to, from+limit)
	}
	if played > 0 && to-from > 1 {
		status(w, http.StatusInternalServerError, "InternalError", "the state after the events is not recorded")
		return
	}
	head := metav1.ListMeta{ResourceVersion: version}
	if to < objects {
		head.Continue = strconv.Itoa(to)
		head.RemainingItemCount = new(int64(objects - to))
	}
	raw, err := json.Marshal(head)
	if err != nil {
		status(w, http.StatusInternalServerError, "InternalError", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriterSize(w, buffered)
	_ = write(out, []byte(`{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":`), raw, []byte(`,"items":[`))
	for i := from; i < to; i++ {
		if i > from {
			_ = out.WriteByte(',')
		}
		if write(out, item(s.rec.object(i))) != nil {
			return // the client has gone
		}
	}
	_ = write(out, []byte("]}\n"))
	_ = out.Flush()
}

// streamList sends the objects as events, then the bookmark that says so, and
// follows.
func (s *recordedServer) streamList(w http.ResponseWriter, r *http.Request) {
	objects, played, version := s.state()
	if played > 0 {
		status(w, http.StatusInternalServerError, "InternalError", "the state after the events is not recorded")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriterSize(w, buffered)
	for i := range objects {
		if write(out, []byte(`{"type":"ADDED","object":`), s.rec.object(i), []byte("}\n")) != nil {
			return
		}
	}
	_, _ = fmt.Fprintf(out, `{"type":"BOOKMARK","object":{"kind":"Deployment","apiVersion":"apps/v1","metadata":`+
		`{"resourceVersion":%q,"creationTimestamp":null,"annotations":{%q:"true"}},`+
		`"spec":{"selector":null,"template":{"metadata":{},"spec":{"containers":null}},"strategy":{}},"status":{}}}`+"\n",
		version, metav1.InitialEventsAnnotationKey)
	if out.Flush() == nil {
		s.follow(w, r)
	}
}

// status answers as the API server does when it does not give what was asked.
func status(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(statusObject(code, reason, message))
}

func statusObject(code int, reason, message string) []byte {
	return fmt.Appendf(nil, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":%q,"reason":%q,"code":%d}`,
		message, reason, code)
}
