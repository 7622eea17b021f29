package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// DecodeManifest reads a manifest with its numbers kept digit by digit as
// json.Number. No input and JSON null give nil.
func DecodeManifest(raw []byte) (map[string]any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	d := decoder{scanner: scanner{b: raw}, source: string(raw), peer: -1}
	if m, ok := d.manifest(); ok {
		return m, nil
	}
	return decodePlainly(raw)
}

// DecodeManifests reads the two manifests of an update, of which most is the
// same: a map or list that stands in both is decoded once and shared, so who
// changes it in one changes both. Clean may be applied to each.
func DecodeManifests(oldRaw, newRaw []byte) (before, after map[string]any, err error) {
	o := decoder{scanner: scanner{b: oldRaw}, source: string(oldRaw), peer: -1, spans: make([]span, 0, 16+len(oldRaw)/64)}
	before, ok := o.manifest()
	if !ok {
		if before, err = DecodeManifest(oldRaw); err != nil {
			return nil, nil, fmt.Errorf("oldObject: %w", err)
		}
	}
	n := decoder{scanner: scanner{b: newRaw}, source: string(newRaw), old: &o, peer: -1}
	if ok && len(o.spans) > 0 {
		n.peer = 0
	}
	if after, ok = n.manifest(); !ok {
		if after, err = DecodeManifest(newRaw); err != nil {
			return nil, nil, fmt.Errorf("object: %w", err)
		}
	}
	return before, after, nil
}

// decodePlainly leaves to encoding/json what is no JSON object, or none that
// ends where the input ends.
func decodePlainly(raw []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("decode manifest: %s", jsonProblem(err))
	}
	if dec.More() {
		return nil, errors.New("decode manifest: more than one JSON value")
	}
	return m, nil
}
