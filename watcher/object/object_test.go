package object_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kwatchman/kwatchman/watcher/object"
)

var (
	secrets     = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}
	configMaps  = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	deployments = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	fixedKey    = []byte("0123456789abcdef0123456789abcdef")
)

func newPacker(t testing.TB, gvk schema.GroupVersionKind) *object.Packer {
	t.Helper()
	zip, err := object.NewCompressor()
	require.NoError(t, err)
	return object.NewPacker(gvk, object.NewRedactor(fixedKey, nil), zip.Vocabulary("x"))
}

// packed is what is left of a manifest after Pack.
func packed(t testing.TB, gvk schema.GroupVersionKind, raw string) string {
	t.Helper()
	p := newPacker(t, gvk)
	o, err := p.Pack([]byte(raw), nil)
	require.NoError(t, err)
	manifest, _, err := p.Unpack(o)
	require.NoError(t, err)
	return string(manifest)
}

func TestManagedFieldsAndLastAppliedAreGoneForEveryKind(t *testing.T) {
	const last = `"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":\"hunter2\"}"`
	for _, gvk := range []schema.GroupVersionKind{secrets, configMaps, deployments, {Group: "stable.example.com", Version: "v1", Kind: "CronTab"}} {
		for name, tc := range map[string]struct{ in, want string }{
			"both": {
				`"name":"a","managedFields":[{"manager":"kubectl","fieldsV1":{"f:data":{"f:hunter2":{}}}}],"annotations":{` + last + `,"team":"shop"}`,
				`"annotations":{"team":"shop"},"name":"a"`,
			},
			"an emptied map goes":  {`"annotations":{` + last + `},"name":"a"`, `"name":"a"`},
			"an empty map stays":   {`"annotations":{},"name":"a"`, `"annotations":{},"name":"a"`},
			"others stay":          {`"annotations":{"b":"2","a":"1"},"name":"a"`, `"annotations":{"b":"2","a":"1"},"name":"a"`},
			"null":                 {`"annotations":null,"managedFields":null,"name":"a"`, `"annotations":null,"name":"a"`},
			"an escaped name":      {`"annotations":{"kubectl.kubernetes.io\/last-\u0061pplied-configuration":"hunter2"},"name":"a"`, `"name":"a"`},
			"twice":                {`"annotations":{` + last + `},"annotations":{` + last + `,` + last + `},"name":"a"`, `"name":"a"`},
			"not a map goes whole": {`"annotations":["hunter2"],"name":"a"`, `"name":"a"`},
		} {
			t.Run(gvk.Kind+" "+name, func(t *testing.T) {
				apiVersion, kind := gvk.ToAPIVersionAndKind()
				require.Equal(t, //nolint:testifylint // byte by byte: members are in order
					fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{%s}}`, apiVersion, kind, tc.want),
					packed(t, gvk, `{"metadata":{`+tc.in+`}}`), "the items of a list get version and kind")
			})
		}
	}
}

func TestVersionAndKindOfAManifestStay(t *testing.T) {
	require.JSONEq(t, `{"apiVersion":"apps/v1beta1","kind":"Deployment","metadata":{"name":"a"}}`,
		packed(t, deployments, `{"kind":"Deployment","apiVersion":"apps/v1beta1","metadata":{"name":"a"}}`))
}

func TestAManifestIsOtherwiseUnchanged(t *testing.T) {
	const raw = `{"apiVersion":"v1","data":{"big":12345678901234567890,"e":1.50,"html":"<&>\u003c\u2028","nul":null},"kind":"ConfigMap","metadata":{"name":"a"},"unknown":[{}]}`
	require.Equal(t, raw, packed(t, configMaps, raw)) //nolint:testifylint // byte by byte
}

func TestPackTellsWhichObjectItIs(t *testing.T) {
	p := newPacker(t, deployments)
	o, err := p.Pack([]byte(`{"metadata":{"namespace":"shop","name":"web","uid":"u1","resourceVersion":"7"}}`), nil)
	require.NoError(t, err)
	require.Equal(t, []string{"shop", "web", "u1", "7", "shop/web"}, []string{o.Namespace, o.Name, o.UID, o.ResourceVersion, o.Key()})
	meta := o.GetObjectMeta()
	require.Equal(t, []string{"shop", "web", "u1", "7"},
		[]string{meta.GetNamespace(), meta.GetName(), string(meta.GetUID()), meta.GetResourceVersion()})
	require.Same(t, o, o.DeepCopyObject())
}

func TestAKnownVersionIsNotPackedAgain(t *testing.T) {
	p := newPacker(t, deployments)
	manifest := func(uid, version string) []byte {
		return fmt.Appendf(nil, `{"metadata":{"namespace":"shop","name":"web","uid":%q,"resourceVersion":%q}}`, uid, version)
	}
	last, err := p.Pack(manifest("u1", "7"), nil)
	require.NoError(t, err)
	known := func(key string) *object.Object {
		require.Equal(t, "shop/web", key)
		return last
	}
	for _, tc := range []struct {
		uid, version string
		same         bool
	}{{"u1", "7", true}, {"u1", "8", false}, {"u2", "7", false}} {
		o, err := p.Pack(manifest(tc.uid, tc.version), known)
		require.NoError(t, err)
		require.Equal(t, tc.same, o == last)
	}
}

func TestOddInputIsAnErrorThatRepeatsNothingOfIt(t *testing.T) {
	deep := strings.Repeat(`{"hunter2":`, 20_000) + `1` + strings.Repeat(`}`, 20_000)
	for name, raw := range map[string]string{
		"empty": "", "no JSON": "hunter2", "cut off": `{"metadata":{"name":"hunter2"`, "more than one": `{"metadata":{"name":"a"}} hunter2`,
		"a list": `["hunter2"]`, "a text": `"hunter2"`, "null": `null`,
		"no metadata": `{"data":{"a":"hunter2"}}`, "metadata null": `{"metadata":null,"data":{"a":"hunter2"}}`,
		"metadata a text": `{"metadata":"hunter2"}`, "name a number": `{"metadata":{"name":12345678}}`,
		"name a list": `{"metadata":{"name":["hunter2"]}}`, "no name": `{"metadata":{"namespace":"hunter2"}}`,
		"metadata twice":       `{"metadata":{"name":"a"},"metadata":"hunter2"}`,
		"managedFields a text": `{"metadata":{"name":"a","managedFields":"hunter2"}}`,
		"a manager's odd time": `{"metadata":{"name":"a","managedFields":[{"time":"hunter2"}]}}`,
		"a manager's odd name": `{"metadata":{"name":"a","managedFields":[{"manager":{"hunter2":1}}]}}`,
		"too deep":             `{"metadata":{"name":"a"},"spec":` + deep + `}`,
		"a bare control":       "{\"metadata\":{\"name\":\"hunter2\n\"}}",
	} {
		t.Run(name, func(t *testing.T) {
			o, err := newPacker(t, configMaps).Pack([]byte(raw), nil)
			require.Error(t, err)
			require.Nil(t, o)
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), "1234")
			require.NotContains(t, err.Error(), "\n")
			require.Less(t, len(err.Error()), 200)
		})
	}
}

func TestOddButValidInputIsTaken(t *testing.T) {
	for name, raw := range map[string]string{
		"invalid UTF-8":  "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\xff\":\"v\xfe\"}}",
		"a huge text":    `{"metadata":{"name":"a"},"data":{"k":"` + strings.Repeat("x", 8<<20) + `"}}`,
		"members twice":  `{"metadata":{"name":"b"},"data":{"k":"1"},"metadata":{"name":"a"},"data":{"k":"2"}}`,
		"nested deeply":  `{"metadata":{"name":"a"},"spec":` + strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000) + `}`,
		"white space":    " \n{ \"metadata\" : { \"name\" : \"a\" } } \t",
		"a name of HTML": `{"metadata":{"name":"a"},"<&>":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			manifest := packed(t, configMaps, raw)
			require.True(t, json.Valid([]byte(manifest)))
			require.Contains(t, manifest, `"name":"a"`, `"name" : "a"`)
		})
	}
}

func TestAnObjectPrintsAsItsNameOnly(t *testing.T) {
	o, err := newPacker(t, configMaps).Pack([]byte(`{"metadata":{"namespace":"shop","name":"web",`+
		`"managedFields":[{"manager":"hunter2","fieldsV1":{"f:hunter2":{}}}]},"data":{"k":"hunter2"}}`), nil)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		require.Equal(t, "shop/web", fmt.Sprintf(verb, *o), verb)
		require.NotContains(t, fmt.Sprintf(verb, []any{o}), "hunter2", verb)
		require.Equal(t, "shop/web", fmt.Sprintf(verb, o), verb)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("seen", "pointer", o, "value", *o, "list", []any{o})
	}
	require.NotContains(t, log.String(), "hunter2")
	require.NotContains(t, log.String(), "packed")
	require.NotContains(t, log.String(), "[40 181") // how a zstd frame prints as numbers
}

func TestSizeIsNearTheTruth(t *testing.T) {
	p := newPacker(t, configMaps)
	random := rand.New(rand.NewPCG(1, 2))
	const n = 5000
	pack := func(i int) *object.Object {
		text := make([]byte, random.IntN(2000))
		for j := range text {
			text[j] = 'a' + byte(random.IntN(26))
		}
		raw := fmt.Appendf(nil, `{"metadata":{"namespace":"shop","name":"web-%d","uid":"0a4f5a2e-6c1d-4c57-9e0b-%012d","resourceVersion":"%d",`+
			`"managedFields":[{"manager":"kubectl","operation":"Update","fieldsV1":{"f:data":{}}}]},"data":{"k":%q}}`, i, i, i, text)
		o, err := p.Pack(raw, nil)
		require.NoError(t, err)
		o.Settle()
		return o
	}
	for i := range 3000 { // until the vocabulary is learned
		pack(i)
	}
	objects := make([]*object.Object, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // what lies in pools goes the second time
	runtime.ReadMemStats(&before)
	for i := range objects {
		objects[i] = pack(i)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	size := 0
	for _, o := range objects {
		size += o.Size()
	}
	t.Logf("%d bytes each, counted as %d", (after.HeapAlloc-before.HeapAlloc)/n, size/n)
	require.InEpsilon(t, after.HeapAlloc-before.HeapAlloc, size, 0.25)
	runtime.KeepAlive(objects)
}
