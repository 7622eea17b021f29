package log

import (
	"context"
	"log/slog"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/conventions"
	"github.com/kwatchman/kwatchman/internal/tracing"
)

// openTelemetry names what an event says by OpenTelemetry's conventions, also
// the trace: https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/
func openTelemetry(ctx context.Context, e *event.Event) []slog.Attr {
	a := make(attributes, 0, 17)
	conventions.Each(e, a.add)
	a.add("trace_id", tracing.ID(ctx, e))
	a.change(e)
	return a
}
