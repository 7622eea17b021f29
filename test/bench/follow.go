package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// bookmarkEvery is how often the real API server sends one, about.
const bookmarkEvery = time.Minute

// stream is a watch that a client follows; the bench says what is sent on it.
type stream struct {
	server *recordedServer
	orders chan order
	gone   <-chan struct{} // the client
}

// order is something to send.
type order struct {
	events  bool // all of the recording
	paced   *pace
	expired bool // the history is gone
	end     bool
	done    chan error
}

// play sends all events, as fast as the client reads, and then, if end is set,
// ends the watch as an API server does that closes an old one.
func (st *stream) play(ctx context.Context, end bool) error {
	return st.order(ctx, order{events: true, end: end})
}

// expire ends the watch with 410, after which a client lists anew.
func (st *stream) expire(ctx context.Context) error {
	return st.order(ctx, order{expired: true, end: true})
}

func (st *stream) order(ctx context.Context, o order) error {
	o.done = make(chan error, 1)
	select {
	case st.orders <- o:
	case <-st.gone:
		return errors.New("the client has ended its watch")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watch follows from the newest version on; there is no other history.
func (s *recordedServer) watch(w http.ResponseWriter, r *http.Request) {
	_, _, version := s.state()
	if asked := r.URL.Query().Get("resourceVersion"); asked != version {
		status(w, http.StatusGone, string(metav1.StatusReasonExpired), "only version "+version+" is recorded")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	s.follow(w, r)
}

// follow carries out orders until one ends the watch, or the client does.
func (s *recordedServer) follow(w http.ResponseWriter, r *http.Request) {
	flush := http.NewResponseController(w).Flush
	if flush() != nil {
		return
	}
	st := &stream{server: s, orders: make(chan order), gone: r.Context().Done()}
	select {
	case s.opened <- st:
	case <-st.gone:
		return
	}
	tick := time.NewTicker(bookmarkEvery)
	defer tick.Stop()
	for {
		select {
		case o := <-st.orders:
			var err error
			if o.paced != nil {
				err = s.sendPaced(w, flush, o.paced)
			} else if err = s.send(w, o); err == nil {
				err = flush()
			}
			o.done <- err
			if o.end || err != nil {
				return
			}
		case <-tick.C:
			if s.bookmark(w, r) != nil || flush() != nil {
				return
			}
		case <-st.gone:
			return
		}
	}
}

func (s *recordedServer) bookmark(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Query().Get("allowWatchBookmarks") != "true" {
		return nil
	}
	_, _, version := s.state()
	_, err := fmt.Fprintf(w, `{"type":"BOOKMARK","object":{"kind":"Deployment","apiVersion":"apps/v1","metadata":`+
		`{"resourceVersion":%q,"creationTimestamp":null},"spec":{"selector":null,"template":{"metadata":{},`+
		`"spec":{"containers":null}},"strategy":{}},"status":{}}}`+"\n", version)
	return err
}

func (s *recordedServer) send(w http.ResponseWriter, o order) error {
	out := bufio.NewWriterSize(w, buffered)
	if o.events {
		s.mu.Lock()
		s.played = len(s.rec.events) // before the client can ask again
		s.mu.Unlock()
		for _, e := range s.rec.events {
			if err := write(out, e.line); err != nil {
				return err
			}
		}
	}
	if o.expired {
		gone := statusObject(http.StatusGone, string(metav1.StatusReasonExpired),
			"The resourceVersion for the provided watch is too old.")
		if err := write(out, []byte(`{"type":"ERROR","object":`), gone, []byte("}\n")); err != nil {
			return err
		}
	}
	return out.Flush()
}
