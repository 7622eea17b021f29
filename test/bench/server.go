package main

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	api "k8s.io/client-go/tools/clientcmd/api"
)

// recordedServer is an API server that answers for Deployments out of a
// recording, by HTTP/2 over TLS as the real one does, and passes all else on to the
// real one. What it sends is written as it is read.
type recordedServer struct {
	rec    *recording
	proxy  http.Handler
	token  string
	server *httptest.Server

	opened chan *stream // watches that follow

	mu      sync.Mutex
	objects int // how many there are
	played  int // events that are in the past
	asked   []question
}

// question is a request for Deployments.
type question struct {
	at     time.Time
	listed bool // all of them
}

// startServer starts it; the caller closes it.
func startServer(rec *recording, real *rest.Config) (*recordedServer, error) {
	s := &recordedServer{rec: rec, token: rand.Text(), opened: make(chan *stream, 16)}
	proxy, err := newProxy(real)
	if err != nil {
		return nil, err
	}
	s.proxy = proxy
	s.server = httptest.NewUnstartedServer(s)
	s.server.EnableHTTP2 = true
	s.server.Config.ReadHeaderTimeout = 10 * time.Second
	s.server.StartTLS()
	return s, nil
}

func newProxy(real *rest.Config) (http.Handler, error) {
	target, err := url.Parse(real.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(real)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Authorization") // it is for this server
		},
	}, nil
}

func (s *recordedServer) close() {
	s.server.CloseClientConnections()
	s.server.Close()
}

// kubeconfig writes how to reach the server.
func (s *recordedServer) kubeconfig(path string) error {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
	cfg := api.NewConfig()
	cfg.Clusters["recorded"] = &api.Cluster{Server: s.server.URL, CertificateAuthorityData: ca}
	cfg.AuthInfos["bench"] = &api.AuthInfo{Token: s.token}
	cfg.Contexts["recorded"] = &api.Context{Cluster: "recorded", AuthInfo: "bench"}
	cfg.CurrentContext = "recorded"
	raw, err := clientcmd.Write(*cfg)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

// reset begins anew, with so many objects and no event sent.
func (s *recordedServer) reset(objects int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects, s.played, s.asked = objects, 0, nil
	for len(s.opened) > 0 {
		<-s.opened
	}
}

// state is what there is to serve.
func (s *recordedServer) state() (objects, played int, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects, s.played, s.rec.last(s.played)
}

// askedSince is when the first request for Deployments after t came, or the
// first for all of them; zero: none.
func (s *recordedServer) askedSince(t time.Time, all bool) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.asked {
		if a.at.After(t) && (a.listed || !all) {
			return a.at
		}
	}
	return time.Time{}
}

// watching waits until a client follows.
func (s *recordedServer) watching(ctx context.Context) (*stream, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, fmt.Errorf("nobody watches the recorded server"))
	defer cancel()
	select {
	case st := <-s.opened:
		return st, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ServeHTTP answers lists and watches of Deployments, and passes on the rest.
// Whoever may ask this server may do everything on the real one, so it takes
// nobody but our own programs.
func (s *recordedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		status(w, http.StatusUnauthorized, "Unauthorized", "not one of the bench's programs")
		return
	}
	if r.URL.Path != deployments || r.Method != http.MethodGet {
		s.proxy.ServeHTTP(w, r)
		return
	}
	query := r.URL.Query()
	s.mu.Lock()
	s.asked = append(s.asked, question{time.Now(), query.Get("sendInitialEvents") == "true" || query.Get("watch") == "" && query.Get("limit") != "1"})
	s.mu.Unlock()
	switch {
	case query.Get("watch") == "":
		s.list(w, query)
	case query.Get("sendInitialEvents") == "true":
		s.streamList(w, r)
	default:
		s.watch(w, r)
	}
}
