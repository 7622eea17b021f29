package object_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/watcher/object"
)

const value = "hunter2-hunter2"

func encoded() string { return base64.StdEncoding.EncodeToString([]byte(value)) }

func TestEveryValueOfASecretIsReplacedByItsHash(t *testing.T) {
	manifest := packed(t, secrets, `{"type":"Opaque","immutable":true,"metadata":{"name":"db","labels":{"a":"b"}},`+
		`"data":{"password":"`+encoded()+`","empty":""},"stringData":{"user":"`+value+`"}}`)
	var got struct {
		Type       string
		Immutable  bool
		Metadata   struct{ Labels map[string]string }
		Data       map[string]string
		StringData map[string]string
	}
	require.NoError(t, json.Unmarshal([]byte(manifest), &got))
	require.Equal(t, "Opaque", got.Type)
	require.True(t, got.Immutable)
	require.Equal(t, map[string]string{"a": "b"}, got.Metadata.Labels)
	require.Len(t, got.Data, 2)
	require.Len(t, got.StringData, 1)
	for _, v := range []string{got.Data["password"], got.Data["empty"], got.StringData["user"]} {
		require.Regexp(t, `^redacted:[0-9a-f]{8}$`, v)
	}
	require.NotContains(t, manifest, value)
	require.NotContains(t, manifest, encoded())
}

func TestAHashChangesWithTheValueAndTheKeyOnly(t *testing.T) {
	zip, err := object.NewCompressor()
	require.NoError(t, err)
	hash := func(key []byte, name, value string) string {
		p := object.NewPacker(secrets, object.NewRedactor(key, nil), zip.Vocabulary("secrets"))
		o, err := p.Pack(fmt.Appendf(nil, `{"metadata":{"name":%q},"data":{"k":%q}}`, name, value), nil)
		require.NoError(t, err)
		manifest, _, err := p.Unpack(o)
		require.NoError(t, err)
		var got struct{ Data map[string]string }
		require.NoError(t, json.Unmarshal(manifest, &got))
		return got.Data["k"]
	}
	one := hash(fixedKey, "a", "YQ==")
	require.Equal(t, one, hash(fixedKey, "b", "YQ=="), "same value")
	require.NotEqual(t, one, hash(fixedKey, "a", "Yg=="), "other value")
	require.NotEqual(t, one, hash(object.RandomKey(), "a", "YQ=="), "other key")
}

func TestNoShapeOfASecretLeaks(t *testing.T) {
	q := func(s string) string { return `"` + s + `"` }
	for name, members := range map[string]string{
		"a list":              `"data":[` + q(value) + `]`,
		"a text":              `"data":` + q(value),
		"a nested map":        `"data":{"a":{"b":` + q(value) + `}}`,
		"a nested list":       `"data":{"a":[` + q(value) + `,null]}`,
		"data twice":          `"data":{"a":` + q(value) + `},"data":{"a":` + q(value) + `}`,
		"data first, then no": `"data":{"a":` + q(value) + `},"data":null`,
		"a key twice":         `"data":{"a":` + q(value) + `,"a":` + q(value) + `}`,
		"another case":        `"Data":{"a":` + q(value) + `},"DATA":` + q(value) + `,"StringDATA":[` + q(value) + `]`,
		"an escaped name":     `"d\u0061ta":{"a":` + q(value) + `}`,
		"an invalid name":     "\"da\xffta\":{\"a\":" + q(value) + `}`,
		"an unknown member":   `"spec":{"a":` + q(value) + `},"status":` + q(value),
		"another kind":        `"kind":"ConfigMap","data":{"a":` + q(value) + `}`,
		"a list of Secrets":   `"kind":"SecretList","items":[{"data":{"a":` + q(value) + `}}]`,
		"last applied":        `"metadata":{"name":"a","annotations":{"kubectl.kubernetes.io/last-applied-configuration":` + q(value) + `}}`,
		"managed fields":      `"metadata":{"name":"a","managedFields":[{"fieldsV1":{"f:data":{"f:` + value + `":{}}}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			manifest := packed(t, secrets, `{"metadata":{"name":"a"},`+members+`}`)
			require.True(t, json.Valid([]byte(manifest)))
			require.NotContains(t, manifest, value)
		})
	}
}

func TestNullAndEmptyDataOfASecretStay(t *testing.T) {
	require.JSONEq(t, `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"data":null,"stringData":{}}`,
		packed(t, secrets, `{"metadata":{"name":"a"},"data":null,"stringData":{}}`))
}

func TestOnlySecretsOfTheCoreGroupAreRedacted(t *testing.T) {
	for _, gvk := range []schema.GroupVersionKind{configMaps, deployments, {Group: "stable.example.com", Version: "v1", Kind: "Secret"}} {
		require.Contains(t, packed(t, gvk, `{"metadata":{"name":"a"},"data":{"k":"plain"}}`), `"k":"plain"`)
	}
}

// FuzzPack plants a value in a Secret, in a manifest that the fuzzer has bent.
func FuzzPack(f *testing.F) {
	for _, raw := range []string{
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"data":{"k":"SECRET"},"stringData":{"k":"SECRET"}}`,
		`{"metadata":{"name":"a","annotations":{"kubectl.kubernetes.io/last-applied-configuration":"SECRET"}},"data":["SECRET"]}`,
		`{"metadata":{"name":"a","managedFields":[{"manager":"m","fieldsV1":{"f:data":{"f:SECRET":{}}}}]},"data":"SECRET"}`,
		`{"metadata":{"name":"a"},"Data":{"k":"SECRET"},"data":{"k":{"a":["SECRET"]}},"data":{"SECRE":"T"}}`,
		`{"metadata":null}`, `[]`, `{"metadata":{"name":"a"},"data":`,
	} {
		f.Add([]byte(raw))
	}
	secret, other := newPacker(f, secrets), newPacker(f, deployments)
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, p := range []*object.Packer{secret, other} {
			o, err := p.Pack(raw, nil)
			if err != nil {
				require.NotContains(t, err.Error(), "SECRET")
				continue
			}
			manifest, managers, err := p.Unpack(o)
			require.NoError(t, err)
			require.True(t, json.Valid(manifest))
			_, err = o.ChangedBy(nil, manifest, managers)
			require.NoError(t, err)
			_, err = o.ChangedBy([]byte(`{"metadata":{"name":"a"},"data":[{"k":1}]}`), manifest, managers)
			require.NoError(t, err)
			if p == secret {
				require.NotContains(t, outsideMetadata(t, manifest), "SECRET")
			}
		}
	})
}

// outsideMetadata is the manifest without what a Secret says openly: metadata,
// names of its members and keys.
func outsideMetadata(t *testing.T, manifest []byte) string {
	var top map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(manifest, &top))
	var b strings.Builder
	for name, raw := range top {
		switch name {
		case "metadata", "apiVersion", "kind", "type", "immutable":
			continue
		}
		var values map[string]json.RawMessage
		if json.Unmarshal(raw, &values) != nil {
			b.Write(raw)
		}
		for _, v := range values {
			b.Write(v)
		}
	}
	return b.String()
}
