package chain

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/internal/tracing"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// item is a change to deliver; err makes its Event fail, keptErr its Kept.
type item struct {
	event   event.Event
	err     error
	keptErr error

	mu    sync.Mutex // protects kept and keeps
	kept  kept
	keeps int // how often something was kept

	events atomic.Int32 // how often the event was built
	done   atomic.Int32
}

// kept is what an item was told to keep.
type kept struct {
	step   int
	before string
	input  []byte
}

func (i *item) Lane() string               { return i.event.Subject }
func (i *item) Name() (id, subject string) { return i.event.ID, i.event.Subject }
func (i *item) Done()                      { i.done.Add(1) }
func (i *item) Keep(step int, before string, input []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.kept = kept{step, before, input}
	if input != nil {
		i.keeps++
	}
}

func (i *item) KeptStep() (step int, before string, ok bool) {
	k := i.keeping()
	return k.step, k.before, k.input != nil
}

func (i *item) Kept() ([]byte, error) { return i.keeping().input, i.keptErr }

// keeping is what the item keeps now.
func (i *item) keeping() kept {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.kept
}

func (i *item) Event() (*event.Event, error) {
	i.events.Add(1)
	e := i.event
	return &e, i.err
}

// change is the n-th change of the Deployment of that name.
func change(name string, n int) *item {
	e := eventtest.Sample(event.Update)
	e.ID = fmt.Sprintf("%s.%d.update", name, n)
	e.Name = name
	e.Subject = event.NewSubject("apps", "v1", "deployments", "shop", name)
	e.PartitionKey = e.Subject
	return &item{event: e}
}

// running is a chain at work, with all that it logs.
type running struct {
	*Chain
	t      *testing.T
	log    *lines
	cancel context.CancelFunc
	ended  chan int
}

// start runs a chain with small waits, for what cfg leaves open.
func start(t *testing.T, cfg Config) *running {
	t.Helper()
	r := prepare(t, cfg)
	r.run()
	return r
}

func prepare(t *testing.T, cfg Config) *running {
	t.Helper()
	zip, err := object.NewCompressor()
	require.NoError(t, err)
	r := &running{t: t, log: &lines{}, ended: make(chan int, 1)}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 4
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.RetryWaitMax == 0 {
		cfg.RetryWaitMin, cfg.RetryWaitMax = time.Millisecond, 4*time.Millisecond
	}
	cfg.Compress, cfg.Decompress = zip.Compress, zip.Decompress
	cfg.Logger = slog.New(tracing.Logs(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	r.Chain, err = New(cfg)
	require.NoError(t, err)
	return r
}

func (r *running) run() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.ended <- r.Run(ctx) }()
	r.t.Cleanup(cancel)
}

func (r *running) push(items ...*item) {
	for _, i := range items {
		r.Push(i)
	}
}

// finish closes the chain and waits until everything is delivered or given up.
func (r *running) finish() {
	r.t.Helper()
	r.Close()
	require.Zero(r.t, <-r.ended)
	require.Zero(r.t, r.Waiting())
	require.Empty(r.t, r.queue.lanes)
}

// cutOff ends the chain with what is not delivered.
func (r *running) cutOff() {
	r.t.Helper()
	r.cancel()
	require.Positive(r.t, <-r.ended)
}

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// with gives the lines of one message.
func (l *lines) with(t *testing.T, message string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		if m["msg"] == message {
			found = append(found, m)
		}
	}
	return found
}

const notDelivered = "change not delivered"

// endpoint serves h and gives its URL.
func endpoint(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// function serves a well-behaved function.
func function(t testing.TB, h event.Handler) string { return endpoint(t, h.ServeHTTP) }

func forward(_ context.Context, e event.Event) (*event.Event, error) { return &e, nil }

// received reads the event of a request.
func received(t *testing.T, r *http.Request) event.Event {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		var e event.Event
		if e, err = event.Decode(r.Header, body); err == nil {
			return e
		}
	}
	t.Errorf("no event arrived: %v", err)
	return event.Event{}
}

// raw serves bytes as they are to every connection, which no http.Server would
// send; then it waits until the client hangs up.
func raw(t *testing.T, answer string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				request, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, request.Body)
				_, _ = io.WriteString(conn, answer)
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

func pemOf(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// steps are targets that are URLs and nothing more.
func steps(urls ...string) []Target {
	var out []Target
	for _, u := range urls {
		out = append(out, Target{URL: u})
	}
	return out
}
