package event

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/cloudevents/sdk-go/v2/binding"
	ce "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

// ErrNoCloudEvent is returned by Decode for a message that carries none.
var ErrNoCloudEvent = errors.New("not a CloudEvent: want ce- headers with Content-Type application/json, or Content-Type application/cloudevents+json")

// Decode reads an event from a request's or a reply's header and body, in
// binary or structured mode. The event holds slices of body.
func Decode(header http.Header, body []byte) (Event, error) {
	if mediaType(header.Get("Content-Type")) == ce.ApplicationCloudEventsJSON {
		var err error
		if header, body, err = structuredToBinary(body); err != nil {
			return Event{}, fmt.Errorf("not a valid CloudEvent: %s", jsonProblem(err))
		}
	}
	switch version := header.Get("Ce-Specversion"); version {
	case "":
		return Event{}, ErrNoCloudEvent
	case ce.CloudEventsVersionV1:
	default:
		return Event{}, fmt.Errorf("specversion %q is not supported: want %s", clip(version, 20), ce.CloudEventsVersionV1)
	}
	in, err := binding.ToEvent(context.Background(), cehttp.NewMessage(header, nil))
	if errors.Is(err, binding.ErrUnknownEncoding) {
		return Event{}, ErrNoCloudEvent
	}
	if err != nil {
		return Event{}, fmt.Errorf("not a valid CloudEvent: %s", jsonProblem(err))
	}
	in.DataEncoded = body // here, for the SDK would copy it
	return FromCloudEvent(*in)
}

// IsCloudEvent tells whether a message claims to be a CloudEvent.
func IsCloudEvent(header http.Header) bool {
	return header.Get("Ce-Specversion") != "" || strings.HasPrefix(mediaType(header.Get("Content-Type")), "application/cloudevents")
}

// structuredToBinary gives the headers and the body that the event would have
// in binary mode, so that there is one path to check. The SDK's own reader of
// structured mode panics on a data_base64 that is a number, and its errors
// repeat the content.
func structuredToBinary(body []byte) (http.Header, []byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, nil, err
	}
	header, data := http.Header{}, []byte(nil)
	for name, raw := range members {
		switch {
		case name == "data":
			data = raw
		case name == "data_base64":
			if err := json.Unmarshal(raw, &data); err != nil {
				return nil, nil, errors.New("data_base64 is not base64 in a string")
			}
		case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || name == "":
			return nil, nil, fmt.Errorf("attribute name %q: want lower-case letters and digits", clip(name, 40))
		default:
			value, set, err := attributeText(raw)
			if err != nil {
				return nil, nil, fmt.Errorf("attribute %s is %w", clip(name, 40), err)
			}
			if name == "datacontenttype" {
				name = "Content-Type"
			} else {
				name = "Ce-" + name
			}
			if set {
				header.Set(name, value)
			}
		}
	}
	if header["Ce-Specversion"] == nil {
		return nil, nil, errors.New("no specversion")
	}
	return header, data, nil
}

// attributeText is a context attribute as a header carries it. JSON null means
// that it is not set.
func attributeText(raw json.RawMessage) (value string, set bool, err error) {
	var text string
	var flag bool
	var number int32
	switch {
	case string(raw) == "null":
		return "", false, nil
	case json.Unmarshal(raw, &text) == nil:
		return text, true, nil
	case json.Unmarshal(raw, &flag) == nil:
		return strconv.FormatBool(flag), true, nil
	case json.Unmarshal(raw, &number) == nil:
		return strconv.Itoa(int(number)), true, nil
	}
	return "", false, errors.New("no string, boolean or 32-bit integer")
}

func isJSON(contentType string) bool { return mediaType(contentType) == ce.ApplicationJSON }

func mediaType(contentType string) string {
	if contentType == ce.ApplicationJSON {
		return contentType
	}
	mt, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return mt
}

// jsonProblem keeps what a JSON error says about the syntax and leaves out
// what it might repeat of the content.
func jsonProblem(err error) string {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		member, _, _ := strings.Cut(err.Error(), "json: ") // "action: ", from Change.UnmarshalJSON
		if t.Field != "" {
			member += t.Field + ": "
		}
		got, _, _ := strings.Cut(t.Value, " ") // of a number, Value also holds the digits
		return member + got + " where " + jsonName(t.Type) + " is wanted"
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("syntax error at byte %d", s.Offset)
	}
	return clip(oneLine(err.Error()), 200)
}

// jsonName is what people who write JSON call a Go type.
func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.String:
		return "a string"
	}
	return "another type"
}
