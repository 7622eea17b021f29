package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// noise is the one list of fields that Kubernetes itself writes on nearly
// every update and that nobody asked to read.
var noise = [...][]string{
	{"metadata", "managedFields"},
	{"metadata", "resourceVersion"},
	{"metadata", "generation"},
	{"metadata", "uid"},
	{"metadata", "creationTimestamp"},
	{"metadata", "selfLink"},
	{"metadata", "annotations", "deployment.kubernetes.io/revision"},
	{"metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"},
	{"status"},
}

// Clean removes the noise list from a decoded manifest of any kind. A map that
// this empties goes too, so that it does not show as a change of its own.
func Clean(manifest map[string]any) {
	for _, path := range noise {
		remove(manifest, path)
	}
}

func remove(m map[string]any, path []string) {
	if len(path) == 1 {
		delete(m, path[0])
		return
	}
	child, ok := m[path[0]].(map[string]any)
	if !ok {
		return
	}
	remove(child, path[1:])
	if len(child) == 0 {
		delete(m, path[0])
	}
}

// DecodeManifest reads a manifest with its numbers kept digit by digit as
// json.Number. No input and JSON null give nil.
func DecodeManifest(raw []byte) (map[string]any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
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
