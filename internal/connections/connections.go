// Package connections bounds how many connections a server has open, so that
// nobody who can reach it exhausts its memory.
package connections

import (
	"container/list"
	"log/slog"
	"net"
	"sync"

	"github.com/kwatchman/kwatchman/internal/seldom"
)

// Refuse gives a listener with at most so many open connections: further ones are
// closed at once, and what is in work on the others goes on.
func Refuse(l net.Listener, most int, log *slog.Logger) net.Listener {
	return &listener{Listener: l, most: most, log: log}
}

// Replace is Refuse for a server whose answers are short: the oldest connection
// makes room for the new one, so that who holds all of them keeps no probe out.
func Replace(l net.Listener, most int, log *slog.Logger) net.Listener {
	return &listener{Listener: l, most: most, log: log, replaces: true}
}

type listener struct {
	net.Listener
	most     int
	replaces bool
	log      *slog.Logger
	said     seldom.Line

	mu   sync.Mutex
	open list.List // of *conn, the oldest first
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: accepted, of: l}
		out := l.add(c)
		if out == nil {
			return c, nil
		}
		if l.said.Due() {
			l.log.Warn("too many connections are open", "address", l.Addr().String(), "most", l.most)
		}
		_ = out.Conn.Close() // nobody waits for what it says
		if out != c {
			return c, nil
		}
	}
}

// add takes a connection in, and gives the one that has to go.
func (l *listener) add(c *conn) (out *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open.Len() >= l.most {
		if !l.replaces {
			return c
		}
		out = l.open.Remove(l.open.Front()).(*conn)
	}
	c.place = l.open.PushBack(c)
	return out
}

type conn struct {
	net.Conn
	of    *listener
	place *list.Element
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.of.mu.Lock()
	c.of.open.Remove(c.place) // does nothing to one that has been removed
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets net/http send an answer to who is still sending.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
