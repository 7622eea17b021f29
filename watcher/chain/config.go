package chain

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/kwatchman/kwatchman/internal/bearer"
	"github.com/kwatchman/kwatchman/internal/signature"
	"github.com/kwatchman/kwatchman/internal/tlsfiles"
	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/watcher/metrics"
)

// Target is what one step calls: an endpoint, or a handler in this process.
type Target struct {
	Name string // what logs call it, besides its host; may be empty
	URL  string
	// Handler, if not nil, is called instead of URL: the same request gets the
	// same answer, without a connection.
	Handler http.Handler
}

// Config says where events go and how patiently.
type Config struct {
	Steps []Target // in order
	// Sink makes the one step a sink in Knative mode: any 2xx is the end.
	Sink       bool
	Extensions map[string]string // added to each event (K_CE_OVERRIDES)
	CACerts    string            // PEM, trusted besides the system's
	// TLS has the client's certificate, and a CA that is trusted besides; nil: neither.
	TLS *tlsfiles.Loader

	// Durable tells that items which are not done outlive the process, with what they
	// keep, so that a stop leaves what has not begun, and an attempt that takes long
	// has its input kept meanwhile.
	Durable bool
	// Holds tells whether this process may send; nil: always. Once it may not, the
	// chain sends nothing more.
	Holds func() bool

	Concurrency  int
	Timeout      time.Duration // of one attempt
	RetryMax     int           // attempts after the first; 0 = no limit
	RetryWaitMin time.Duration
	RetryWaitMax time.Duration

	// Sign are the keys that requests to endpoints are signed with, in direct mode.
	Sign signature.Keys
	// Token goes with requests to endpoints and to a sink; nil: none does.
	Token     *bearer.Token
	UserAgent string
	Logger    *slog.Logger
	StopLevel slog.Level // at which it is logged that a step stops the chain
	Metrics   *metrics.Metrics
	// Tracer, which outlives the chain, follows changes; nil: nobody does.
	Tracer *tracing.Tracer
	// Compress and Decompress pack what waits between two steps.
	Compress   func([]byte) []byte
	Decompress func([]byte) ([]byte, error)
}
