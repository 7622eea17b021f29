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
// itself, for a slog.Logger swallows the error of a write. names may rename what
// slog names itself.
func jsonWriter(w io.Writer, names func([]string, slog.Attr) slog.Attr, attributes func(context.Context, *event.Event) []slog.Attr) writeEvent {
	h := slog.NewJSONHandler(escaper{w}, &slog.HandlerOptions{ReplaceAttr: names})
	return func(ctx context.Context, e *event.Event) error {
		record := slog.NewRecord(e.Time, slog.LevelInfo, sentence(e), 0)
		record.AddAttrs(attributes(ctx, e)...)
		return h.Handle(ctx, record)
	}
}

// sentence is an event in one line for people:
// UPDATE Deployment shop/web by kubectl-edit: replicas 3 → 5.
func sentence(e *event.Event) string {
	out := e.Title() + " " + by(e)
	if e.Diff != nil && e.Diff.Summary != "" {
		out += ": " + e.Diff.Summary
	}
	return out
}

// by is who made the change.
func by(e *event.Event) string {
	if who := e.Who(); who != "" {
		return "by " + who
	}
	return "by: not recorded"
}

// attributes collects what a line says, without what is empty.
type attributes []slog.Attr

func (a *attributes) add(name, value string) {
	if value != "" {
		*a = append(*a, slog.String(name, value))
	}
}

// change adds what no convention has a name for.
func (a *attributes) change(e *event.Event) {
	if len(e.ChangedBy) > 0 {
		*a = append(*a, slog.Any("kwatchman.changed_by", e.ChangedBy))
	}
	if e.Diff != nil {
		a.add("kwatchman.summary", e.Diff.Summary)
	}
	p := e.Payload
	if p == nil {
		return
	}
	var text string
	if len(p.DataBase64) == 0 && json.Unmarshal(p.Data, &text) != nil && json.Valid(p.Data) {
		*a = append(*a, slog.Any("kwatchman.payload", p.Data)) // JSON stays JSON
		return
	}
	a.add("kwatchman.payload", p.Text())
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
