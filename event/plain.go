package event

import (
	"encoding/json"
	"fmt"

	ce "github.com/cloudevents/sdk-go/v2/event"
)

// DecodePlain reads the answer {"continue": bool, "payload": …} of an endpoint
// that knows no CloudEvents, and returns in with that payload, or nil if it
// stops: a string becomes text, anything else JSON, and without one the payload
// stays. The error holds nothing of the body.
func DecodePlain(contentType string, body []byte, in *Event) (*Event, error) {
	var plain struct {
		Continue *bool
		Payload  json.RawMessage
	}
	if json.Unmarshal(body, &plain) != nil || plain.Continue == nil {
		return nil, fmt.Errorf(`neither a CloudEvent nor JSON with "continue" (Content-Type %s)`, clip(oneLine(contentType), 100))
	}
	if !*plain.Continue {
		return nil, nil //nolint:nilnil // stop is a nil event
	}
	out := *in
	var text string
	switch {
	case len(plain.Payload) == 0 || string(plain.Payload) == "null": // the payload stays
	case json.Unmarshal(plain.Payload, &text) == nil:
		out.Payload = TextPayload("text/plain; charset=utf-8", text)
	default:
		out.Payload = &Payload{ContentType: ce.ApplicationJSON, Data: plain.Payload}
	}
	return &out, nil
}
