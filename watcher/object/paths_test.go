package object_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The kinds of path elements are those of structured-merge-diff,
// https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management.
func TestChangedByFollowsEveryKindOfPath(t *testing.T) {
	for name, tc := range map[string]struct {
		old, now string // spec.x
		fields   map[string]string
		want     []string
	}{
		"item added by a text key": {
			`[{"name":"a"}]`, `[{"name":"a"},{"name":"b"}]`,
			map[string]string{"a": `{"k:{\"name\":\"a\"}":{".":{},"f:name":{}}}`, "b": `{"k:{\"name\":\"b\"}":{".":{},"f:name":{}}}`},
			[]string{"b"},
		},
		"item changed by two keys, one a number": {
			`[{"port":80,"protocol":"TCP","n":1},{"port":80,"protocol":"UDP","n":1}]`, `[{"port":80,"protocol":"UDP","n":2},{"port":80,"protocol":"TCP","n":1}]`,
			map[string]string{
				"tcp": `{"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:n":{},"f:port":{}}}`,
				"udp": `{"k:{\"protocol\":\"UDP\",\"port\":80}":{".":{},"f:n":{},"f:port":{}}}`,
			},
			[]string{"udp"},
		},
		"items that only moved belong to nobody": {
			`[{"name":"a"},{"name":"b"}]`, `[{"name":"b"},{"name":"a"}]`,
			map[string]string{"a": `{"k:{\"name\":\"a\"}":{".":{},"f:name":{}}}`},
			nil,
		},
		"item that its owner emptied of fields": {
			`[]`, `[{"name":"b"}]`, map[string]string{"b": `{"k:{\"name\":\"b\"}":{".":{}}}`}, []string{"b"},
		},
		"boolean key": {
			`[{"on":true,"n":1}]`, `[{"on":true,"n":2}]`, map[string]string{"a": `{"k:{\"on\":true}":{"f:n":{}}}`}, []string{"a"},
		},
		"value added to a set": {
			`["a"]`, `["a","b"]`, map[string]string{"a": `{".":{},"v:\"a\"":{}}`, "b": `{"v:\"b\"":{}}`}, []string{"b"},
		},
		"number added to a set":      {`[1]`, `[1,2]`, map[string]string{"one": `{"v:1":{}}`, "two": `{"v:2":{}}`}, []string{"two"}},
		"atomic list":                {`["a"]`, `["b"]`, map[string]string{"a": `{}`}, []string{"a"}},
		"atomic map":                 {`{"k":1}`, `{"k":2}`, map[string]string{"a": `{}`}, []string{"a"}},
		"index":                      {`["a","b"]`, `["a","c"]`, map[string]string{"first": `{"i:0":{}}`, "second": `{"i:1":{}}`}, []string{"second"}},
		"deepest owner":              {`{"k":1}`, `{"k":2}`, map[string]string{"whole": `{}`, "deep": `{"f:k":{}}`}, []string{"deep"}},
		"the whole, beside the deep": {`{"k":1,"l":1}`, `{"k":1,"l":2}`, map[string]string{"whole": `{}`, "deep": `{"f:k":{}}`}, []string{"whole"}},
		"existence is not content":   {`{"k":1}`, `{"k":2}`, map[string]string{"dot": `{".":{}}`, "deep": `{"f:k":{}}`}, []string{"deep"}},
		"a map appears":              {`null`, `{"k":2}`, map[string]string{"dot": `{".":{},"f:other":{}}`, "deep": `{"f:k":{}}`}, []string{"deep"}},
		"a field with a colon":       {`{"a:b":1}`, `{"a:b":2}`, map[string]string{"a": `{"f:a:b":{}}`}, []string{"a"}},
		"an empty name":              {`{"":1}`, `{"":2}`, map[string]string{"a": `{"f:":{}}`}, []string{"a"}},
		"big numbers differ":         {`12345678901234567890`, `12345678901234567891`, map[string]string{"a": `{}`}, []string{"a"}},
		"null and nothing differ":    {`{"k":null}`, `{}`, map[string]string{"a": `{"f:k":{}}`}, []string{"a"}},
		"another type":               {`[{"name":"a"}]`, `{"name":"a"}`, map[string]string{"a": `{"f:name":{}}`, "b": `{"k:{\"name\":\"a\"}":{}}`}, []string{"a", "b"}},
		"nonsense": {
			`["a"]`, `["b"]`,
			map[string]string{"a": `{"k:":{},"v:{":{},"i:x":{},"i:-1":{},"i:99":{},"k:[]":{},"k:{}":{},"x:y":{},"":{},"f:a":null,"f:b":[],"v:\"b\"":5}`},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			side := func(value string) version {
				v := version{manifest: `|"spec":{"x":` + value + `}`}
				for _, manager := range []string{"a", "b", "tcp", "udp", "one", "two", "first", "second", "whole", "dot", "deep"} {
					if f, ok := tc.fields[manager]; ok {
						v.entries = append(v.entries, entry(manager, "Update", "", 3, `{"f:spec":{"f:x":`+f+`}}`))
					}
				}
				return v
			}
			old := side(tc.old)
			got := changedBy(t, &old, side(tc.now))
			want := []string{}
			for _, manager := range tc.want {
				want = append(want, manager+"/Update/")
			}
			require.Equal(t, want, got)
		})
	}
}

// A search from the list's start for every item would take minutes here.
func TestAListOfThousandsIsComparedInOneGo(t *testing.T) {
	const n = 20_000
	side := func(shift int) version {
		items, fields := make([]string, n), make([]string, n)
		for i := range n {
			items[i] = fmt.Sprintf(`{"name":"n%d","v":%d}`, i, i+shift)
			fields[i] = fmt.Sprintf(`"k:{\"name\":\"n%d\"}":{".":{},"f:name":{},"f:v":{}}`, i)
		}
		return version{`|"spec":{"x":[` + strings.Join(items, ",") + `]}`, []string{entry("a", "Update", "", 3, `{"f:spec":{"f:x":{`+strings.Join(fields, ",")+`}}}`)}}
	}
	old := side(0)
	begin := time.Now()
	require.Equal(t, []string{"a/Update/"}, changedBy(t, &old, side(1)))
	require.Less(t, time.Since(begin), time.Minute)
}
