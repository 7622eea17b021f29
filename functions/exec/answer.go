package exec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kwatchman/kwatchman/event"
)

// answer says what an exit code means for an event.
func (o *output) answer(e *event.Event, contentType string) (*event.Event, error) {
	switch o.code {
	case 0:
		p, err := payload(o.stdout, contentType)
		if err != nil {
			return nil, event.Permanent(fmt.Errorf("%s printed %w", o.name, err))
		}
		if p != nil {
			e.Payload = p
		}
		return e, nil
	case exitStop:
		reason := o.hide.Replace(lastLine(string(o.stdout)))
		if reason == "" {
			reason = o.stderr
		}
		if reason == "" {
			reason = fmt.Sprintf("%s exited with %d", o.name, exitStop)
		}
		return nil, event.Stop(reason)
	case exitAgain:
		return nil, again("%s exited with %d%s", o.name, exitAgain, colon(o.stderr))
	}
	return nil, event.Permanent(fmt.Errorf("%s exited with %d%s", o.name, o.code, colon(o.stderr)))
}

func colon(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// payload is what a command printed, nil if that is nothing.
func payload(stdout []byte, contentType string) (*event.Payload, error) {
	media, _, err := mime.ParseMediaType(contentType)
	isJSON := err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
	switch {
	case len(bytes.TrimSpace(stdout)) == 0:
		return nil, nil //nolint:nilnil // nothing printed is no payload
	case isJSON && !json.Valid(stdout):
		return nil, errors.New("no JSON, which EXEC_CONTENT_TYPE says it is")
	case isJSON:
		return &event.Payload{ContentType: contentType, Data: bytes.TrimSpace(stdout)}, nil
	case !utf8.Valid(stdout):
		if strings.HasPrefix(media, "text/") {
			contentType = "application/octet-stream"
		}
		return &event.Payload{ContentType: contentType, DataBase64: stdout}, nil
	}
	return event.TextPayload(contentType, string(stdout)), nil
}

// head keeps the beginning of what is written, and calls full where there is
// more.
type head struct {
	b    bytes.Buffer
	most int
	over bool
	full func()
}

func (h *head) Write(p []byte) (int, error) {
	if room := h.most - h.b.Len(); len(p) > room {
		if !h.over {
			h.over = true
			h.full()
		}
		return len(p), nil
	}
	return h.b.Write(p)
}

// maxTail bounds what is kept of stderr in bytes.
const maxTail = 4 << 10

// tail keeps the end of what is written.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if n > maxTail {
		p = p[n-maxTail:]
	}
	if over := len(t.b) + len(p) - maxTail; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	t.b = append(t.b, p...)
	return n, nil
}

func (t *tail) line() string { return lastLine(string(t.b)) }

// lastLine is the last line that says something, in one short piece.
func lastLine(text string) string {
	const most = 300
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(text, "\uFFFD")), "\n")
	line := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.TrimSpace(lines[len(lines)-1]))
	if r := []rune(line); len(r) > most {
		line = string(r[:most]) + "…"
	}
	return line
}
