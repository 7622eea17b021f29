package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

var updateListKeys = flag.Bool("update-list-keys", false, "write functions/diff/listkeys.go anew")

const listKeysFile = "../../functions/diff/listkeys.go"

// TestKeysOfListsAreThoseOfTheAPI: what diff knows of lists is what the API
// server's OpenAPI document says, nothing older.
func TestKeysOfListsAreThoseOfTheAPI(t *testing.T) {
	c := newCluster(t)
	cfg := rest.CopyConfig(c.config)
	cfg.NegotiatedSerializer = scheme.Codecs
	client, err := rest.UnversionedRESTClientFor(cfg)
	require.NoError(t, err)
	raw, err := client.Get().AbsPath("/openapi/v2").SetHeader("Accept", "application/json").DoRaw(t.Context())
	require.NoError(t, err)
	want := listKeys(t, raw)
	if *updateListKeys {
		require.NoError(t, os.WriteFile(listKeysFile, want, 0o600))
	}
	got, err := os.ReadFile(listKeysFile)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "bin/cluster run -- go test ./test/e2e -run KeysOfLists -update-list-keys writes it")
}

// listKeys writes the table from an OpenAPI document. The name of a list says
// enough: hardly any two of one name have other keys, and those differ in which
// members their items have.
func listKeys(t *testing.T, document []byte) []byte {
	t.Helper()
	var api struct {
		Definitions map[string]struct {
			Properties map[string]struct {
				Items    *struct{ Type string } `json:"items"`
				ListType string                 `json:"x-kubernetes-list-type"`
				Keys     []string               `json:"x-kubernetes-list-map-keys"`
				MergeKey string                 `json:"x-kubernetes-patch-merge-key"`
			}
		}
	}
	require.NoError(t, json.Unmarshal(document, &api))
	keys, sets := map[string]map[string]bool{}, map[string]bool{}
	for name, d := range api.Definitions {
		if !strings.HasPrefix(name, "io.k8s.") {
			continue // a custom resource of another test
		}
		for field, p := range d.Properties {
			of := p.Keys
			if len(of) == 0 && p.MergeKey != "" && p.Items != nil && p.Items.Type == "" {
				of = []string{p.MergeKey}
			}
			if len(of) > 0 {
				if keys[field] == nil {
					keys[field] = map[string]bool{}
				}
				keys[field][fmt.Sprintf("%#v", of)] = true
			}
			if p.ListType == "set" {
				sets[field] = true
			}
		}
	}
	require.Contains(t, keys, "containers")
	var b strings.Builder
	b.WriteString("// Code generated from the OpenAPI document of the Kubernetes API by test/e2e. DO NOT EDIT.\n\npackage diff\n\n")
	b.WriteString("// mergeKeys are the members by which the API matches the items of a list: of\n// several alternatives the one whose members the items have.\nvar mergeKeys = map[string][][]string{\n")
	for _, field := range slices.Sorted(maps.Keys(keys)) {
		fmt.Fprintf(&b, "%q: {", field)
		for _, of := range slices.Sorted(maps.Keys(keys[field])) {
			b.WriteString(strings.TrimPrefix(of, "[]string") + ", ")
		}
		b.WriteString("},\n")
	}
	b.WriteString("}\n\n// sets are the lists that the API takes for sets of values.\nvar sets = map[string]bool{\n")
	for _, field := range slices.Sorted(maps.Keys(sets)) {
		fmt.Fprintf(&b, "%q: true,\n", field)
	}
	b.WriteString("}\n")
	out, err := format.Source([]byte(b.String()))
	require.NoError(t, err)
	return out
}
