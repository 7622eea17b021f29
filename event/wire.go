package event

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
)

// The extensions of an event by their names on the wire.
const (
	extCluster      = "cluster"
	extAPIVersion   = "apiversion"
	extKind         = "kind"
	extNamespace    = "namespace"
	extName         = "name"
	extPartitionKey = "partitionkey"
	extVia          = "via"
	extContinue     = "continue"
)

// ToCloudEvent is the event in the SDK's form, ready for any binding.
func (e *Event) ToCloudEvent() (ce.Event, error) {
	out := ce.New(ce.CloudEventsVersionV1)
	out.SetID(e.ID)
	out.SetSource(e.Source)
	out.SetType(e.Type())
	out.SetSubject(e.Subject)
	out.SetTime(e.Time)
	for name, value := range e.Extensions {
		out.SetExtension(name, value)
	}
	for _, x := range [...]struct{ name, value string }{
		{extCluster, e.Cluster},
		{extAPIVersion, e.APIVersion},
		{extKind, e.Kind},
		{extNamespace, e.Namespace},
		{extName, url.PathEscape(e.Name)},
		{extPartitionKey, e.PartitionKey},
		{extVia, e.Via},
	} {
		if x.value != "" {
			out.SetExtension(x.name, x.value)
		}
	}
	if e.Continue != nil {
		out.SetExtension(extContinue, *e.Continue)
	}
	data, err := e.encode()
	if err != nil {
		return out, fmt.Errorf("encode data: %w", err)
	}
	// SetData would encode the bytes anew; the encoded form is set as it is.
	out.SetDataContentType(ce.ApplicationJSON)
	out.DataEncoded = data
	if err := out.Validate(); err != nil {
		return out, fmt.Errorf("encode event: %w", err)
	}
	return out, nil
}

// FromCloudEvent reads an event and checks it against the contract. The error
// is one line that says what is wrong. The event holds slices of in's data.
func FromCloudEvent(in ce.Event) (Event, error) {
	var e Event
	if err := in.Validate(); err != nil {
		return e, errors.New(oneLine(strings.TrimSpace(err.Error())))
	}
	if in.SpecVersion() != ce.CloudEventsVersionV1 {
		return e, fmt.Errorf("specversion %s is not supported: want 1.0", in.SpecVersion())
	}
	if ct := in.DataContentType(); !isJSON(ct) {
		return e, fmt.Errorf("datacontenttype %q is not supported: want application/json", clip(ct, 60))
	}
	e.ID, e.Source, e.Subject, e.Time = in.ID(), in.Source(), in.Subject(), in.Time()
	if err := e.readExtensions(in.Extensions()); err != nil {
		return e, err
	}
	if err := e.decode(in.Data()); err != nil {
		return e, fmt.Errorf("data is not the JSON of a change: %s", jsonProblem(err))
	}
	if err := e.Validate(); err != nil {
		return e, err
	}
	if in.Type() != e.Type() {
		return e, fmt.Errorf("type %q does not fit action %s: want %s", clip(in.Type(), 80), e.Action, e.Type())
	}
	return e, nil
}

func (e *Event) readExtensions(in map[string]any) error {
	for name, value := range in {
		s, err := types.Format(value)
		if err != nil {
			return fmt.Errorf("extension %s: %w", name, err)
		}
		switch field := e.field(name); {
		case field != nil:
			*field = s
		case name == extContinue:
			if s != "true" && s != "false" {
				return fmt.Errorf("extension continue is %q: want true or false", clip(s, 20))
			}
			e.Continue = new(s == "true")
		default:
			if e.Extensions == nil {
				e.Extensions = map[string]string{}
			}
			e.Extensions[name] = s
		}
	}
	name, err := url.PathUnescape(e.Name)
	if err != nil {
		return errors.New("extension name is not path-escaped")
	}
	e.Name = name
	return nil
}

// field is where an extension of the contract goes, nil for any other.
func (e *Event) field(name string) *string {
	switch name {
	case extCluster:
		return &e.Cluster
	case extAPIVersion:
		return &e.APIVersion
	case extKind:
		return &e.Kind
	case extNamespace:
		return &e.Namespace
	case extName:
		return &e.Name
	case extPartitionKey:
		return &e.PartitionKey
	case extVia:
		return &e.Via
	}
	return nil
}

// NewRequest is the event as a POST in binary mode.
func NewRequest(ctx context.Context, target string, e *Event) (*http.Request, error) {
	header, body, err := Encode(e)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header = header
	return r, nil
}

// Encode is the event as the header and the body of a message in binary mode,
// for a client that wants to send the body again without a copy of its own.
func Encode(e *Event) (http.Header, []byte, error) {
	out, err := e.ToCloudEvent()
	if err != nil {
		return nil, nil, err
	}
	// Not by cehttp.NewHTTPRequestFromEvent, which would validate once more.
	r := http.Request{Header: make(http.Header, 16)}
	if err := cehttp.WriteRequest(context.Background(), (*binding.EventMessage)(&out), &r); err != nil {
		return nil, nil, fmt.Errorf("encode event: %w", err)
	}
	return r.Header, out.DataEncoded, nil
}

// oneLine replaces control characters, so that text from outside cannot break
// a line, a header or a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || (r >= 0x7f && r < 0xa0) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
}

// clip cuts s to at most n bytes at a rune's border and marks the cut.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "…"
	n -= len(mark)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}
