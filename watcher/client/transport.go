package client

import (
	"net"
	"net/http"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// streamBuffer bounds, in bytes, what one request may have received and not yet
// read: of a watch that waits for room in the queue. Without it that is 4 MiB for
// each watch. It is also what is under way at most, so that a list takes a round
// trip for each 512 KiB.
const streamBuffer = 512 << 10

// Of client-go's own dialer.
const (
	dialTimeout = 30 * time.Second
	keepAlive   = 30 * time.Second
)

// boundReceiving bounds what the client's HTTP/2 connections hold for requests
// that nobody reads. A connection as a whole keeps the limit of x/net/http2, one
// GiB: watches that wait would use up a lower one, and what shares the connection
// with them (discovery, lists, the Lease) would wait, too.
//
// The transport becomes the client's own, by its dialer, since client-go shares
// those of equal settings in the process, and takes http.DefaultTransport where
// there is no TLS setting: neither is ours to change.
func boundReceiving(cfg *rest.Config) {
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}).DialContext
	}
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		if t := transportOf(rt); t != nil {
			t.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: streamBuffer}
		}
		return rt
	})
}

// transportOf is what opens the connections below client-go's wrappers; nil: it is
// not one of net/http, as that of a test may be.
func transportOf(rt http.RoundTripper) *http.Transport {
	for {
		switch t := rt.(type) {
		case *http.Transport:
			return t
		case utilnet.RoundTripperWrapper:
			rt = t.WrappedRoundTripper()
		default:
			return nil
		}
	}
}
