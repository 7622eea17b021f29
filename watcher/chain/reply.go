package chain

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	ce "github.com/cloudevents/sdk-go/v2/event"

	"github.com/kwatchman/kwatchman/event"
)

// reply reads a 2xx answer: an event to go on with, or nil and the reason to
// stop. An answer that breaks the contract is a permanent failure, so that a
// proxy's page or a wrong URL swallows no change.
func reply(resp *http.Response, in *event.Event) (next *event.Event, reason string, err error) {
	body, err := readReply(resp)
	if err != nil {
		return nil, "", &failure{status: resp.StatusCode, reason: fmt.Sprintf("reply broke off: %v", cause(err))}
	}
	if len(body) > maxReply {
		return nil, "", permanent(resp.StatusCode, "reply is larger than %d bytes", maxReply)
	}
	isEvent := event.IsCloudEvent(resp.Header)
	switch {
	case len(body) == 0 && !isEvent:
		return nil, resp.Header.Get(event.ReasonHeader), nil
	case isEvent:
		next, err = eventReply(resp.Header, body, in)
	default:
		next, err = event.DecodePlain(resp.Header.Get("Content-Type"), body, in)
	}
	if err != nil {
		return nil, "", permanent(resp.StatusCode, "reply breaks the contract: %v", err)
	}
	if next == nil {
		reason = cmp.Or(resp.Header.Get(event.ReasonHeader), "continue is false")
	}
	return next, reason, nil
}

// readReply reads a body, up to one byte more than it may have. It gets the room
// that it says it needs, as far as that is what an event usually has: what is
// only claimed takes no memory.
func readReply(resp *http.Response) ([]byte, error) {
	const usual = 256 << 10
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= usual {
		b.Grow(int(n) + bytes.MinRead) // ReadFrom wants room behind the end
	}
	_, err := b.ReadFrom(io.LimitReader(resp.Body, maxReply+1))
	return b.Bytes(), err
}

// eventReply follows a CloudEvent; it must still be the same change.
func eventReply(header http.Header, body []byte, in *event.Event) (*event.Event, error) {
	out, err := event.Decode(header, body)
	if err != nil {
		return nil, err
	}
	for _, kept := range []struct{ name, was, is string }{
		{"id", in.ID, out.ID},
		{"source", in.Source, out.Source},
		{"type", in.Type(), out.Type()},
		{"subject", in.Subject, out.Subject},
		{"cluster", in.Cluster, out.Cluster},
		{"apiversion", in.APIVersion, out.APIVersion},
		{"kind", in.Kind, out.Kind},
		{"namespace", in.Namespace, out.Namespace},
		{"name", in.Name, out.Name},
		{"partitionkey", in.PartitionKey, out.PartitionKey},
		{"via", in.Via, out.Via},
	} {
		if kept.was != kept.is {
			return nil, fmt.Errorf("%s was changed", kept.name)
		}
	}
	if out.Continue != nil && !*out.Continue {
		return nil, nil //nolint:nilnil // stop is a nil event
	}
	out.Time = in.Time
	for name, value := range in.Extensions {
		if _, ok := out.Extensions[name]; !ok {
			if out.Extensions == nil {
				out.Extensions = map[string]string{}
			}
			out.Extensions[name] = value
		}
	}
	return &out, nil
}

// pack keeps an event small while it waits between two steps: its context, and
// the data byte by byte as it came.
func pack(e *event.Event, compress func([]byte) []byte) ([]byte, error) {
	out, err := e.ToCloudEvent()
	if err != nil {
		return nil, err
	}
	data := out.DataEncoded
	out.DataEncoded = nil
	head, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return compress(slices.Concat(head, []byte("\n"), data)), nil
}

func unpack(b []byte, decompress func([]byte) ([]byte, error)) (*event.Event, error) {
	b, err := decompress(b)
	if err != nil {
		return nil, fmt.Errorf("unpack event: %w", err)
	}
	head, data, _ := bytes.Cut(b, []byte("\n"))
	var in ce.Event
	if json.Unmarshal(head, &in) != nil {
		return nil, errors.New("unpack event: not a CloudEvent")
	}
	in.DataEncoded = data
	e, err := event.FromCloudEvent(in)
	return &e, err
}
