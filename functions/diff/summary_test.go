package diff

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSummaryIsOneReadableLine(t *testing.T) {
	x := strings.Repeat("x", 100)
	for _, c := range []struct{ old, new, want string }{
		{`{"spec":{"replicas":3}}`, `{"spec":{"replicas":5}}`, `spec.replicas 3 → 5`},
		{`{"spec":{"paused":true}}`, `{"spec":{}}`, `spec.paused removed: true`},
		{`{"metadata":{"labels":{"a":"1"}}}`, `{"metadata":{"labels":{"a":"1","tier":"web"}}}`, `metadata.labels.tier added: web`},
		{`{"metadata":{"annotations":{"example.com/x":"1"}}}`, `{"metadata":{"annotations":{"example.com/x":"2"}}}`, `metadata.annotations["example.com/x"] "1" → "2"`},
		{`{"metadata":{"labels":{"a":"1"}},"spec":{"n":1}}`, `{"metadata":{"labels":{"a":"2"}},"spec":{"n":2}}`, `spec.n 1 → 2, +1 more`},
		{`{"a":"1"}`, `{"a":1}`, `a "1" → 1`},
		{`{"a":null}`, `{"a":{}}`, `a null → {}`},
		{`{"a":[]}`, `{"a":{"x":1,"y":2}}`, `a [] → {2 fields}`},
		{`{"a":{"x":1}}`, `{"a":[1,2]}`, `a {1 field} → [2 items]`},
		{`{"a":""}`, `{"a":" b "}`, `a "" → " b "`},
		{`{"a":"1\n2\n3\n"}`, `{"a":"1\n2\n"}`, `a 3 lines → 2 lines`},
		{`{"a":"1\n2\n"}`, `{"a":"1\n3\n"}`, `a changed`},
		{`{"a":"one"}`, `{"a":"1\n3\n"}`, `a one → 2 lines`},
		{`{"a":"\u001b[31m\r\u0000"}`, `{"a":"\u202e\u2028"}`, `a "\u001B[31m\r\u0000" → "\u202E\u2028"`},
		{`{"a":"` + x + `"}`, `{"a":"short"}`, `a ` + x[:59] + `… → short`},
		{`{"a":"` + x + `1"}`, `{"a":"` + x + `2"}`, `a …` + x[:12] + `1 → …` + x[:12] + `2`},
		{`{"a":"` + x + `"}`, `{"a":"` + x + `\u0007"}`, `a …` + x[:12] + ` → "…` + x[:12] + `\u0007"`},
		{`{"a":"` + x + `ü"}`, `{"a":"` + x + `ö"}`, `a …` + x[:12] + `ü → …` + x[:12] + `ö`},
		{`{"a":"` + x + `é"}`, `{"a":"` + x + `ê"}`, `a …` + x[:12] + `é → …` + x[:12] + `ê`},
		{`{"a":1` + strings.Repeat("0", 99) + `}`, `{"a":2}`, `a 1` + strings.Repeat("0", 58) + `… → 2`},
		{`{"a b":{"":{"1":[[0]]}}}`, `{"a b":{"":{"1":[[1]]}}}`, `["a b"][""].1[0][0] 0 → 1`},
	} {
		out, err := handle(t.Context(), changed(c.old, c.new))
		require.NoError(t, err)
		require.Equal(t, c.want, out.Diff.Summary)
		requireHarmless(t, out.Diff.Summary, "")
	}
}

func TestLongPathKeepsItsEnd(t *testing.T) {
	key := strings.Repeat("é", 200)
	out, err := handle(t.Context(), changed(`{"`+key+`":{"end":1}}`, `{"`+key+`":{"end":2}}`))
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(out.Diff.Summary, `éé"].end 1 → 2`))
	require.Len(t, []rune(out.Diff.Summary), maxPathShown+len(" 1 → 2")-len("→")+1)
}
