package object_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/watcher/object"
	"github.com/kwatchman/kwatchman/watcher/object/credential"
)

// planted stands for a credential in the cases.
const planted = "s3cr3t-Hunter2x"

// cases reads testdata/credentials.txt: a line each, what it holds and a JSON
// text with PLANTED where the credential is. "stays" lines hold none.
func cases(t testing.TB, what string) (all []string) {
	t.Helper()
	raw, err := os.ReadFile("testdata/credentials.txt")
	require.NoError(t, err)
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), what+" "); ok {
			all = append(all, rest)
		}
	}
	return all
}

func redactingPacker(t testing.TB, rules *credential.Rules) *object.Packer {
	t.Helper()
	zip, err := object.NewCompressor()
	require.NoError(t, err)
	return object.NewPacker(configMaps, object.NewRedactor(fixedKey, rules), zip.Vocabulary("x"))
}

// redacted is a manifest as it leaves.
func redacted(t testing.TB, rules *credential.Rules, manifest string) string {
	t.Helper()
	return packedBy(t, redactingPacker(t, rules), manifest)
}

func packedBy(t testing.TB, p *object.Packer, manifest string) string {
	t.Helper()
	o, err := p.Pack([]byte(manifest), nil)
	require.NoError(t, err, manifest)
	out, _, err := p.Unpack(o)
	require.NoError(t, err)
	require.True(t, json.Valid(out), "%s", out)
	return string(out)
}

func TestCredentialsOfAnyShapeAreReplacedAndWhatIsAroundThemStays(t *testing.T) {
	all := cases(t, "hides")
	require.GreaterOrEqual(t, len(all), 60)
	for _, c := range all {
		t.Run(c, func(t *testing.T) {
			require.Contains(t, c, "PLANTED")
			manifest := `{"metadata":{"name":"a"},"spec":` + strings.ReplaceAll(c, "PLANTED", planted) + `}`
			got := redacted(t, nil, manifest)
			require.NotContains(t, got, planted)
			require.Contains(t, got, "redacted:")
			require.Equal(t, got, redacted(t, nil, got), "redacting twice is redacting once")
			for _, keep := range strings.Fields("host.example.com visible KEEP") {
				require.Equal(t, strings.Count(manifest, keep), strings.Count(got, keep), "%s in %s", keep, got)
			}
			other := redacted(t, nil, strings.ReplaceAll(manifest, planted, "an0ther-Hunter3y"))
			require.NotEqual(t, got, other, "a change shows as a change")
		})
	}
}

func TestWhatIsNoCredentialStays(t *testing.T) {
	all := cases(t, "stays")
	require.GreaterOrEqual(t, len(all), 40)
	for _, c := range all {
		t.Run(c, func(t *testing.T) {
			manifest := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"spec":` + c + `}`
			require.JSONEq(t, manifest, redacted(t, nil, manifest))
		})
	}
}

func TestCredentialsInMetadataAreReplacedToo(t *testing.T) {
	for _, kind := range []string{"ConfigMap", "Secret"} {
		manifest := fmt.Sprintf(`{"kind":%q,"metadata":{"name":"a","labels":{"api-token":"%s"},"annotations":{"example.com/password":"%s","note":"use --token=%s here"}}}`,
			kind, planted, planted, planted)
		got := redacted(t, nil, manifest)
		require.NotContains(t, got, planted)
		require.Contains(t, got, "use --token=redacted:")
	}
}

func TestRulesCanBeSwitchedOffAndAdded(t *testing.T) {
	const manifest = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"PASSWORD":"one","ZUGANG":"two","URL":"http://u:three@h/","n":"id ACME-123456 end"}}`
	rules := func(off, more, keep []string, values string) *credential.Rules {
		r, err := credential.New(off, more, keep, values)
		require.NoError(t, err)
		return r
	}
	require.JSONEq(t, manifest, redacted(t, rules([]string{"all"}, nil, nil, ""), manifest))
	got := redacted(t, rules([]string{"url"}, []string{"zug*"}, nil, `ACME-(\d+)`), manifest)
	for _, gone := range []string{"one", "two", "123456"} {
		require.NotContains(t, got, gone)
	}
	require.Contains(t, got, "http://u:three@h/")
	require.Contains(t, got, "id ACME-redacted:")
	require.Contains(t, redacted(t, rules(nil, nil, []string{"password"}, ""), manifest), `"PASSWORD":"one"`)
	secret := `{"kind":"Secret","metadata":{"name":"a"},"data":{"k":"b25l"}}`
	zip, err := object.NewCompressor()
	require.NoError(t, err)
	p := object.NewPacker(secrets, object.NewRedactor(fixedKey, rules([]string{"all"}, nil, []string{"k"}, "")), zip.Vocabulary("x"))
	o, err := p.Pack([]byte(secret), nil)
	require.NoError(t, err)
	out, _, err := p.Unpack(o)
	require.NoError(t, err)
	require.NotContains(t, string(out), "b25l", "a Secret's values never leave")
}

func TestBadRulesAreErrorsThatNameTheListAndNotTheValue(t *testing.T) {
	for list, r := range map[string]struct {
		off, more, keep []string
		values          string
	}{
		credential.Off:    {off: []string{"passwords-" + planted}},
		credential.More:   {more: []string{"*"}},
		credential.Keep:   {keep: []string{"**"}},
		credential.Values: {values: "(" + planted},
	} {
		_, err := credential.New(r.off, r.more, r.keep, r.values)
		var bad *credential.Error
		require.ErrorAs(t, err, &bad)
		require.Equal(t, list, bad.List)
		require.NotContains(t, err.Error(), planted)
	}
}

// FuzzRedactedManifest plants a credential under a name of one, somewhere in a
// manifest, beside what the fuzzer has made up.
func FuzzRedactedManifest(f *testing.F) {
	for _, seed := range []struct {
		name, around string
		place        uint8
	}{{"PASSWORD", "a=b\n", 0}, {"apiKey", "x: y\n- z", 1}, {"db-token", `{"a":"`, 2}, {"client_secret", "<p>\\", 3}, {"Passwort", "\"'", 4}} {
		f.Add(seed.name, seed.around, seed.place)
	}
	p := redactingPacker(f, nil)
	f.Fuzz(func(t *testing.T, name, around string, place uint8) {
		rules := (*credential.Rules)(nil)
		bare := strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == ""
		if rules.Name(name) == credential.No || strings.HasPrefix(name, "-") || !bare && place%8 != 0 && place%8 != 7 {
			name = "DB_PASSWORD" // in a file, a name of other signs is not known for one
		}
		spec := map[string]any{"around": around, around: "x"}
		switch place % 8 {
		case 0:
			spec[name] = planted
		case 1:
			spec["env"] = []any{map[string]any{"name": name, "value": planted}, around}
		case 2:
			spec["args"] = []any{around, "--" + strings.Trim(name, "-") + "=" + planted}
		case 3:
			spec["file"] = around + "\n" + name + "=" + planted + "\n" + around
		case 4:
			spec["file"] = around + "\n  " + name + ": " + planted + "\n" + around
		case 5:
			spec["url"] = around + " https://user:" + planted + "@host.example.com/" + around
		case 6:
			inner, err := json.Marshal(map[string]any{name: planted, "x": around})
			require.NoError(t, err)
			spec["file"] = string(inner)
		case 7:
			spec["deep"] = []any{map[string]any{"a": map[string]any{name: planted}, "b": around}}
		}
		if strings.Contains(around, planted) {
			return
		}
		raw, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": "a", "annotations": map[string]any{name: planted}}, "spec": spec})
		require.NoError(t, err)
		require.NotContains(t, packedBy(t, p, string(raw)), planted)
	})
}
