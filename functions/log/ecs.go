package log

import (
	"context"
	"log/slog"
	"strings"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/internal/conventions"
	"github.com/kwatchman/kwatchman/internal/tracing"
)

// ecsVersion is the version of the Elastic Common Schema that elastic keeps to.
const ecsVersion = "8.17.0"

// elastic names what an event says by the Elastic Common Schema, and the rest
// kwatchman.*: https://www.elastic.co/docs/reference/ecs/ecs-field-reference
func elastic(ctx context.Context, e *event.Event) []slog.Attr {
	a := make(attributes, 0, 20)
	a.add("ecs.version", ecsVersion)
	a.add("event.kind", "event")
	a = append(a, slog.Any("event.category", []string{"configuration"}))
	a = append(a, slog.Any("event.type", []string{map[event.Action]string{
		event.Add: "creation", event.Update: "change", event.Delete: "deletion",
	}[e.Action]}))
	a.add("event.action", strings.ToLower(string(e.Action)))
	a.add("event.id", e.ID)
	a.add("event.provider", "kwatchman")
	a.add("event.dataset", "kwatchman.change")
	a.add("orchestrator.type", "kubernetes")
	a.add("orchestrator.cluster.name", e.Cluster)
	a.add("orchestrator.namespace", e.Namespace)
	a.add("orchestrator.api_version", e.APIVersion)
	a.add("orchestrator.resource.type", strings.ToLower(e.Kind))
	a.add("orchestrator.resource.name", e.Name)
	a.add("orchestrator.resource.id", conventions.UID(e))
	a.add("kwatchman.kind", e.Kind)
	a.add("kwatchman.subject", e.Subject)
	a.add("kwatchman.via", e.Via)
	a.add("trace.id", tracing.ID(ctx, e))
	a.change(e)
	return a
}

// ecsNames gives slog's own attributes the names of the schema.
func ecsNames(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case slog.TimeKey:
		a.Key = "@timestamp"
	case slog.LevelKey:
		return slog.String("log.level", "info")
	case slog.MessageKey:
		a.Key = "message"
	}
	return a
}
