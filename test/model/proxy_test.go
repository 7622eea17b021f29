package model

import (
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a watcher and the API server, and may be cut.
type proxy struct {
	listener   net.Listener
	to         string
	kubeconfig string // leads through it
	work       sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newProxy(t *testing.T, of *plane) *proxy {
	t.Helper()
	server, err := url.Parse(of.config.Host)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, to: server.Host, conns: map[net.Conn]bool{}, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	p.work.Go(p.serve)
	t.Cleanup(func() {
		_ = l.Close()
		p.set(true)
		p.work.Wait()
	})
	text, err := os.ReadFile(of.kubeconfig)
	require.NoError(t, err)
	require.Contains(t, string(text), server.Host)
	require.NoError(t, os.WriteFile(p.kubeconfig, []byte(strings.ReplaceAll(string(text), server.Host, l.Addr().String())), 0o600))
	return p
}

// set cuts all connections and lets none be made, or mends it.
func (p *proxy) set(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if cut {
		p.reset()
	}
}

// blink cuts all connections; others may be made.
func (p *proxy) blink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reset()
}

// reset: the caller holds mu.
func (p *proxy) reset() {
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

// keep notes a connection; false: there is to be none.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) serve() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.keep(in) {
			continue
		}
		p.work.Go(func() {
			defer p.drop(in)
			out, err := net.Dial("tcp", p.to)
			if err != nil || !p.keep(out) {
				return
			}
			defer p.drop(out)
			p.work.Go(func() {
				_, _ = io.Copy(out, in)
				_ = out.Close()
			})
			_, _ = io.Copy(in, out)
		})
	}
}
