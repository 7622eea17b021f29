package tracing

import (
	"encoding/binary"
	"math"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// This encodes an ExportTraceServiceRequest of OTLP 1
// (https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto/trace/v1)
// by hand: the generated types bring gRPC along, and would double a function's size.
// The numbers are those of the fields.

// The wire types of protocol buffers.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// message is one of protocol buffers. Fields with their default are left out.
type message []byte

func (m *message) tag(field, wire int) { *m = binary.AppendUvarint(*m, uint64(field<<3|wire)) } //nolint:gosec // small and positive

func (m *message) bytes(field int, b []byte) {
	m.tag(field, wireBytes)
	*m = append(binary.AppendUvarint(*m, uint64(len(b))), b...)
}

func (m *message) string(field int, s string) {
	if s != "" {
		m.bytes(field, []byte(s))
	}
}

func (m *message) varint(field int, v uint64) {
	m.tag(field, wireVarint)
	*m = binary.AppendUvarint(*m, v)
}

func (m *message) count(field, v int) {
	if v > 0 {
		m.varint(field, uint64(v))
	}
}

func (m *message) fixed64(field int, v uint64) {
	m.tag(field, wireFixed64)
	*m = binary.LittleEndian.AppendUint64(*m, v)
}

func (m *message) fixed32(field int, v uint32) {
	m.tag(field, wireFixed32)
	*m = binary.LittleEndian.AppendUint32(*m, v)
}

// encode is the body of a request. All spans of a process have one resource.
func encode(spans []sdktrace.ReadOnlySpan) []byte {
	var resource message
	attributes(&resource, 1, spans[0].Resource().Attributes())
	var of message // ResourceSpans
	of.bytes(1, resource)
	byScope := map[instrumentation.Scope]message{}
	for _, s := range spans {
		m := byScope[s.InstrumentationScope()]
		m.bytes(2, span(s))
		byScope[s.InstrumentationScope()] = m
	}
	for scope, spans := range byScope {
		var s, all message // InstrumentationScope, ScopeSpans
		s.string(1, scope.Name)
		s.string(2, scope.Version)
		all.bytes(1, s)
		of.bytes(2, append(all, spans...))
	}
	of.string(3, spans[0].Resource().SchemaURL())
	var out message
	out.bytes(1, of)
	return out
}

func span(s sdktrace.ReadOnlySpan) message {
	var m message
	sc, parent := s.SpanContext(), s.Parent()
	identify(&m, sc)
	m.string(3, sc.TraceState().String())
	if parent.HasSpanID() {
		id := parent.SpanID()
		m.bytes(4, id[:])
	}
	m.string(5, s.Name())
	m.varint(6, uint64(s.SpanKind())) //nolint:gosec // the numbers are OTLP's
	m.fixed64(7, uint64(s.StartTime().UnixNano()))
	m.fixed64(8, uint64(s.EndTime().UnixNano()))
	attributes(&m, 9, s.Attributes())
	m.count(10, s.DroppedAttributes())
	for _, l := range s.Links() {
		var link message
		identify(&link, l.SpanContext)
		link.string(3, l.SpanContext.TraceState().String())
		attributes(&link, 4, l.Attributes)
		link.fixed32(6, flags(l.SpanContext, l.SpanContext.IsRemote()))
		m.bytes(13, link)
	}
	m.count(14, s.DroppedLinks())
	if status := s.Status(); status.Code != codes.Unset {
		var of message
		of.string(2, status.Description)
		of.varint(3, map[codes.Code]uint64{codes.Ok: 1, codes.Error: 2}[status.Code])
		m.bytes(15, of)
	}
	m.fixed32(16, flags(sc, parent.IsRemote()))
	return m
}

func identify(m *message, sc trace.SpanContext) {
	traceID, spanID := sc.TraceID(), sc.SpanID()
	m.bytes(1, traceID[:])
	m.bytes(2, spanID[:])
}

// flags are those of W3C, and whether the span's parent, or what is linked to, is
// of another process, which is known here.
func flags(sc trace.SpanContext, remote bool) uint32 {
	out := uint32(sc.TraceFlags()) | 0x100
	if remote {
		out |= 0x200
	}
	return out
}

func attributes(m *message, field int, all []attribute.KeyValue) {
	for _, kv := range all {
		var pair message
		pair.string(1, string(kv.Key))
		pair.bytes(2, value(kv.Value))
		m.bytes(field, pair)
	}
}

// value is of the kinds that spans here have; any other is told as text.
func value(v attribute.Value) message {
	var m message
	switch v.Type() {
	case attribute.BOOL:
		n := uint64(0)
		if v.AsBool() {
			n = 1
		}
		m.varint(2, n)
	case attribute.INT64:
		m.varint(3, uint64(v.AsInt64())) //nolint:gosec // two's complement is what is asked for
	case attribute.FLOAT64:
		m.fixed64(4, math.Float64bits(v.AsFloat64()))
	case attribute.STRING:
		m.bytes(1, []byte(v.AsString()))
	default:
		m.bytes(1, []byte(v.String()))
	}
	return m
}
