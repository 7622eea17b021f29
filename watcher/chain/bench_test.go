package chain

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// counted is a change of 8 KB that tells when it is done.
type counted struct {
	item
	ended chan struct{}
}

func (c *counted) Done() { c.ended <- struct{}{} }

// sender delivers changes of 100 objects through a chain.
type sender struct {
	chain *Chain
	large []event.Event
	ended chan struct{}
	n     int
}

func newSender(t testing.TB, steps ...Target) *sender {
	t.Helper()
	zip, err := object.NewCompressor()
	require.NoError(t, err)
	c, err := New(Config{
		Steps: steps, Concurrency: 16, Timeout: time.Minute, RetryWaitMin: time.Second, RetryWaitMax: time.Second,
		Compress: zip.Compress, Decompress: zip.Decompress,
		UserAgent: "kwatchman/test", Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	s := &sender{chain: c, ended: make(chan struct{}, 1000)}
	for i := range 100 {
		e := eventtest.SampleLarge(false)
		e.Name = fmt.Sprint("web-", i)
		e.Subject = event.NewSubject("apps", "v1", "deployments", "shop", e.Name)
		e.PartitionKey = e.Subject
		s.large = append(s.large, e)
	}
	ended := make(chan int, 1)
	go func() { ended <- c.Run(context.Background()) }()
	t.Cleanup(func() {
		c.Close()
		require.Zero(t, <-ended)
	})
	return s
}

func (s *sender) push() {
	s.n++
	s.chain.Push(&counted{item: item{event: s.large[s.n%len(s.large)]}, ended: s.ended})
}

// sink takes an event as a function that stops does, without a look at it.
func sink(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.WriteHeader(http.StatusNoContent)
}

// BenchmarkDeliver is a change's way through a chain; the endpoints' work is
// part of it.
func BenchmarkDeliver(b *testing.B) {
	function, last := event.Handler(forward), http.HandlerFunc(sink)
	endpoint, lastEndpoint := Target{URL: endpoint(b, function.ServeHTTP)}, Target{URL: endpoint(b, sink)}
	here, lastHere := Target{Name: "forward", Handler: function}, Target{Name: "sink", Handler: last}
	for _, c := range []struct {
		name  string
		steps []Target
	}{
		{"one endpoint", []Target{lastEndpoint}},
		{"two endpoints", []Target{endpoint, lastEndpoint}},
		{"four endpoints", []Target{endpoint, endpoint, endpoint, lastEndpoint}},
		{"one built-in", []Target{lastHere}},
		{"two built-in", []Target{here, lastHere}},
		{"four built-in", []Target{here, here, here, lastHere}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := newSender(b, c.steps...)
			b.ReportAllocs()
			ahead := 0
			for b.Loop() {
				s.push()
				if ahead++; ahead > 32 {
					<-s.ended
				}
			}
			for range min(ahead, 32) {
				<-s.ended
			}
		})
	}
}

// A fifth more than was measured; with an endpoint, what a server allocates is
// counted too.
func TestFewAllocationsADelivery(t *testing.T) {
	function, last := event.Handler(forward), http.HandlerFunc(sink)
	for name, c := range map[string]struct {
		most  int
		steps []Target
	}{
		"to an endpoint":               {228, []Target{{URL: endpoint(t, sink)}}},
		"to a built-in":                {140, []Target{{Name: "sink", Handler: last}}},
		"through a built-in to a next": {495, []Target{{Name: "forward", Handler: function}, {Name: "sink", Handler: last}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSender(t, c.steps...)
			eventtest.Allocs(t, c.most, func() {
				s.push()
				<-s.ended
			})
		})
	}
}
