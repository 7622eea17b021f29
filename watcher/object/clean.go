package object

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

func quote(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string always encodes
	return b
}

// safe keeps of a JSON error where it is and leaves out what it quotes.
func safe(err error) error {
	for _, own := range []error{errNoMap, errNoText, errFields, errMore} {
		if errors.Is(err, own) {
			return own
		}
	}
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("syntax error at byte %d", s.ByteOffset)
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("syntax error at byte %d", s.Offset)
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s is wanted at byte %d", t.Type, t.Offset)
	}
	return errors.New("not JSON")
}
