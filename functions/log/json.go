package log

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"unicode/utf8"

	"github.com/kwatchman/kwatchman/event"
)

// jsonWriter writes an event as one line of JSON. It calls slog's handler
// itself, for a slog.Logger swallows the error of a write.
func jsonWriter(w io.Writer) func(context.Context, *event.Event) error {
	h := slog.NewJSONHandler(escaper{w}, nil)
	return func(ctx context.Context, e *event.Event) error {
		record := slog.NewRecord(e.Time, slog.LevelInfo, "change", 0)
		record.AddAttrs(attributes(e)...)
		return h.Handle(ctx, record)
	}
}

// attributes are what a line says of an event, without what is empty.
func attributes(e *event.Event) []slog.Attr {
	out := []slog.Attr{slog.String("action", string(e.Action)), slog.String("kind", e.Kind)}
	add := func(name, value string) {
		if value != "" {
			out = append(out, slog.String(name, value))
		}
	}
	add("namespace", e.Namespace)
	add("name", e.Name)
	add("apiVersion", e.APIVersion)
	add("cluster", e.Cluster)
	add("id", e.ID)
	add("via", e.Via)
	if len(e.ChangedBy) > 0 {
		out = append(out, slog.Any("changedBy", e.ChangedBy))
	}
	if e.Diff != nil {
		add("summary", e.Diff.Summary)
	}
	if p := e.Payload; p != nil {
		var text string
		if len(p.DataBase64) == 0 && json.Unmarshal(p.Data, &text) != nil && json.Valid(p.Data) {
			out = append(out, slog.Any("payload", p.Data)) // JSON stays JSON
		} else {
			add("payload", p.Text())
		}
	}
	return out
}

// escaper escapes what slog leaves as it is although a terminal might obey it:
// the control characters above ASCII, and those that reorder text. It is fed
// whole lines of JSON, where such characters stand in strings only.
type escaper struct{ w io.Writer }

func (e escaper) Write(line []byte) (int, error) {
	if utf8.Valid(line) && !bytes.ContainsFunc(bytes.TrimSuffix(line, []byte("\n")), isUnsafe) {
		return e.w.Write(line)
	}
	var b bytes.Buffer
	for _, r := range string(line) {
		if isUnsafe(r) && r != '\n' {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	_, err := e.w.Write(b.Bytes())
	return len(line), err
}
