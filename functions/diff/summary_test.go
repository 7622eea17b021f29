package diff

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSummaryIsOneReadableLine(t *testing.T) {
	x := strings.Repeat("x", 100)
	for _, c := range []struct{ old, new, want string }{
		{`{"spec":{"replicas":3}}`, `{"spec":{"replicas":5}}`, `replicas 3 → 5`},
		{`{"spec":{"paused":true}}`, `{"spec":{}}`, `-paused=true`},
		{`{"metadata":{"labels":{"a":"1"}}}`, `{"metadata":{"labels":{"a":"1","tier":"web"}}}`, `+label tier=web`},
		{`{"metadata":{"name":"x"}}`, `{"metadata":{"name":"x","labels":{"tier":"web"}}}`, `+label tier=web`},
		{`{"metadata":{"name":"x"}}`, `{"metadata":{"name":"x","labels":{"tier":"web","a":"1"}}}`, `+2 labels`},
		{`{"metadata":{"annotations":{"example.com/x":"1"}}}`, `{"metadata":{"annotations":{"example.com/x":"2"}}}`, `annotation example.com/x 1 → 2`},
		{`{"metadata":{"labels":{"a":"1"}},"spec":{"n":1}}`, `{"metadata":{"labels":{"a":"2"}},"spec":{"n":2}}`, `n 1 → 2, label a 1 → 2`},
		{`{"a":"1"}`, `{"a":1}`, `a "1" → 1`},
		{`{"a":null}`, `{"a":{}}`, `a null → {}`},
		{`{"a":[]}`, `{"a":{"x":1,"y":2}}`, `a [] → {2 fields}`},
		{`{"a":{"x":1}}`, `{"a":[1,2]}`, `a {1 field} → [2 items]`},
		{`{"a":""}`, `{"a":" b "}`, `a "" → " b "`},
		{`{"a":"1\n2\n3\n"}`, `{"a":"1\n2\n"}`, `a -1 line`},
		{`{"a":"1\n2\n"}`, `{"a":"1\n3\n"}`, `a: 2 → 3`},
		{`{"a":"1\n2\n3\n"}`, `{"a":"1\n3\n4\n5\n"}`, `a +2 -1 lines`},
		{`{"a":"one"}`, `{"a":"1\n3\n"}`, `a one → 2 lines`},
		{`{"a":"\u001b[31m\r\u0000"}`, `{"a":"\u202e\u2028"}`, `a "\u001B[31m\r\u0000" → "\u202E\u2028"`},
		{`{"a":"` + x + `"}`, `{"a":"short"}`, `a ` + x[:59] + `… → short`},
		{`{"a":"` + x + `1"}`, `{"a":"` + x + `2"}`, `a …` + x[:12] + `1 → …` + x[:12] + `2`},
		{`{"a":"` + x + `"}`, `{"a":"` + x + `\u0007"}`, `a …` + x[:12] + ` → "…` + x[:12] + `\u0007"`},
		{`{"a":"` + x + `ü"}`, `{"a":"` + x + `ö"}`, `a …` + x[:12] + `ü → …` + x[:12] + `ö`},
		{`{"a":"` + x + `é"}`, `{"a":"` + x + `ê"}`, `a …` + x[:12] + `é → …` + x[:12] + `ê`},
		{`{"a":1` + strings.Repeat("0", 99) + `}`, `{"a":2}`, `a 1` + strings.Repeat("0", 58) + `… → 2`},
		{`{"a b":{"":{"1":1}}}`, `{"a b":{"":{"1":2}}}`, `["a b"][""].1 1 → 2`},
		{`{"metadata":{"finalizers":["a"]}}`, `{"metadata":{"finalizers":["a"],"deletionTimestamp":"2026-01-01T00:00:00Z"}}`, `deletion requested`},
		{`{"metadata":{"name":"x"}}`, `{"metadata":{"name":"x","finalizers":["example.com/guard"]}}`, `+finalizer example.com/guard`},
		{`{"data":{"a":"redacted:00000001"}}`, `{"data":{"a":"redacted:00000002","b":"redacted:00000003"}}`, `a changed, +b`},
	} {
		out, err := handle(t.Context(), changed(c.old, c.new))
		require.NoError(t, err)
		require.Equal(t, c.want, out.Diff.Summary)
		requireHarmless(t, out.Diff.Summary, "")
	}
}

// TestSummaryNamesContainersAndWhatIsInThem: people think of the image of app,
// not of an index in a template.
func TestSummaryNamesContainersAndWhatIsInThem(t *testing.T) {
	pod := func(containers string) string {
		return `{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":3,"template":{"spec":{"containers":[` + containers + `]}}}}`
	}
	const app = `{"name":"app","image":"registry:5000/app:1.4"}`
	for _, c := range []struct{ old, new, want string }{
		{app, `{"name":"app","image":"registry:5000/app:1.5"}`, `image of app 1.4 → 1.5`},
		{app, `{"name":"app","image":"registry:5000/api:1.4"}`, `image of app registry:5000/app:1.4 → registry:5000/api:1.4`},
		{app, `{"name":"proxy","image":"p:1"},` + app, `+container proxy`},
		{app, `{"name":"app","image":"registry:5000/app:1.4","env":[{"name":"A","value":"1"}]}`, `+env A=1 of app`},
		{app, `{"name":"app","image":"registry:5000/app:1.4","env":[{"name":"A","value":"1"},{"name":"B"}]}`, `+2 env`},
		{app, `{"name":"app","image":"registry:5000/app:1.4","args":["--debug"]}`, `+arg --debug of app`},
		{app, `{"name":"app","image":"registry:5000/app:1.4","resources":{"limits":{"cpu":"1"}}}`, `+resources of app`},
	} {
		out, err := handle(t.Context(), changed(pod(c.old), pod(c.new)))
		require.NoError(t, err)
		require.Equal(t, c.want, out.Diff.Summary)
	}
}

func TestLongPathKeepsItsEnd(t *testing.T) {
	key := strings.Repeat("é", 200)
	out, err := handle(t.Context(), changed(`{"`+key+`":{"end":1}}`, `{"`+key+`":{"end":2}}`))
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(out.Diff.Summary, `éé"].end 1 → 2`))
	require.Len(t, []rune(out.Diff.Summary), maxSubject+len(" 1 → 2")-len("→")+1)
}
