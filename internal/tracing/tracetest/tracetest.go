// Package tracetest is a collector for tests: it takes spans by OTLP over HTTP,
// and reads them with OpenTelemetry's own types.
package tracetest

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// patience is how long Await waits for what has to come.
const patience = 60 * time.Second

// Span is one that arrived. Ids are hexadecimal, attributes as text.
type Span struct {
	Service, Name, Kind     string
	Trace, ID, Parent       string
	Start, End              time.Time
	Attributes, OfResource  map[string]string
	Failed                  bool
	Message                 string   // of the status
	Links                   []string // the traces that are linked to
	State, Scope            string
	ParentIsRemote, Sampled bool
}

// Collector takes spans.
type Collector struct {
	URL string

	mu      sync.Mutex
	spans   []Span
	headers []http.Header
	status  []int // of the next answers; then 200
}

// New starts a collector that ends with the test.
func New(t *testing.T) *Collector {
	t.Helper()
	c := &Collector{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", c.take)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// Answer has the next requests answered with these statuses.
func (c *Collector) Answer(status ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = append(c.status, status...)
}

// Spans are all that arrived.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Headers are those of all requests.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.headers)
}

// Await waits until at least n spans of the trace have come, of all traces if it
// is empty, and gives them by the time they began.
func (c *Collector) Await(t *testing.T, n int, trace string) []Span {
	t.Helper()
	var found []Span
	require.Eventually(t, func() bool {
		found = slices.DeleteFunc(c.Spans(), func(s Span) bool { return trace != "" && s.Trace != trace })
		return len(found) >= n
	}, patience, 10*time.Millisecond, "%d spans never came", n)
	slices.SortStableFunc(found, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return found
}

func (c *Collector) take(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = append(c.headers, r.Header)
	if len(c.status) > 0 {
		status := c.status[0]
		c.status = c.status[1:]
		w.WriteHeader(status)
		return
	}
	body, err := read(r)
	if err != nil || r.Header.Get("Content-Type") != "application/x-protobuf" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	// On the wire it is the same as an ExportTraceServiceRequest, whose package has gRPC with it.
	var all tracepb.TracesData
	if proto.Unmarshal(body, &all) != nil || len(all.ProtoReflect().GetUnknown()) > 0 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, of := range all.GetResourceSpans() {
		resource := attributes(of.GetResource().GetAttributes())
		for _, in := range of.GetScopeSpans() {
			for _, s := range in.GetSpans() {
				c.spans = append(c.spans, span(s, resource, in.GetScope().GetName()))
			}
		}
	}
}

func read(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	unpacked, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(unpacked)
}

func span(s *tracepb.Span, resource map[string]string, scope string) Span {
	out := Span{
		Service: resource["service.name"], Name: s.GetName(), Kind: s.GetKind().String(),
		Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Start: time.Unix(0, int64(s.GetStartTimeUnixNano())), End: time.Unix(0, int64(s.GetEndTimeUnixNano())), //nolint:gosec // of our time
		Attributes: attributes(s.GetAttributes()), OfResource: resource,
		Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR, Message: s.GetStatus().GetMessage(),
		State: s.GetTraceState(), Scope: scope,
		ParentIsRemote: s.GetFlags()&uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK) != 0, Sampled: s.GetFlags()&1 != 0,
	}
	for _, l := range s.GetLinks() {
		out.Links = append(out.Links, hex.EncodeToString(l.GetTraceId()))
	}
	return out
}

func attributes(all []*commonpb.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range all {
		switch v := kv.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			out[kv.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			out[kv.GetKey()] = strconv.FormatInt(v.IntValue, 10)
		case *commonpb.AnyValue_BoolValue:
			out[kv.GetKey()] = strconv.FormatBool(v.BoolValue)
		case *commonpb.AnyValue_DoubleValue:
			out[kv.GetKey()] = strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
		}
	}
	return out
}
