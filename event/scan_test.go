package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// oddJSON are seeds that lie at the borders of JSON.
var oddJSON = []string{
	``, ` `, `null`, ` null `, `nul`, `{}`, ` { } `, `[]`, `[ ]`, `{"a":1}`, `{"a" : 1 }`, `{"a":1,}`, `{,}`, `{"a"}`, `{1:2}`, `[1,]`, `[,1]`,
	`0`, `-0`, `-`, `01`, `1.`, `1.0`, `.5`, `1e5`, `1E+05`, `1e`, `1e-`, `-1.5e-300`, `+1`, `NaN`, `1 2`, `{}{}`, `true`, `truex`, `False`,
	`"a"`, `"`, `"\"`, `"\""`, `"\u00e9"`, `"\u00g9"`, `"\u12"`, `"\ud800"`, `"\x"`, "\"\x00\"", "\"\t\"", "\"\x1f.......\"", "\"\x7f\"",
	"\"\xff\"", "{\"\xff\":1}", `"1234567"`, `"12345678"`, `"123456789"`, `"1234567\n"`, `"12345678\n9"`, `"12345678`, "\"größe\u2028\"",
	`{"action":"Add","object":{"a":1},"changedBy":[]}`, `{"action":"Add","action":"Delete","oldObject":{},"object":null}`,
	`{"\u0061ction":"Add","Action":"x","object":{}}`, `{"action":null,"changedBy":null,"diff":null,"payload":null}`,
	`{"action":1}`, `{"changedBy":{}}`, `{"changedBy":[{"manager":"m","operation":"Update","time":"2026-11-22T08:00:00Z"}]}`,
	`{"diff":{"summary":"s","changes":[{"op":"add","path":"a","to":[1.50]}],"patch":{"a":null},"omitted":2}}`,
	`{"diff":{"Summary":"s","patch":null}}`, `{"diff":{"summary":"a","summary":"b","other":1}}`, `{"diff":{"changes":{}}}`, `{"diff":[]}`,
	`{"payload":{"contentType":"text/plain","data":"x"}}`, `{"payload":{"contentType":1}}`, `{"payload":{"data":null,"dataBase64":"AAE="}}`,
	`{"payload":{"CONTENTTYPE":"a","contentType":"b"}}`, `{"payload":{"dataBase64":"%"}}`, `{"x":1,"y":{"z":[ 1 ]},"x":2}`,
	strings.Repeat("[", 10000) + strings.Repeat("]", 10000), strings.Repeat("[", 10001) + strings.Repeat("]", 10001),
}

func fuzzJSON(f *testing.F, check func(t *testing.T, raw []byte)) {
	f.Helper()
	for _, s := range oddJSON {
		f.Add([]byte(s))
	}
	f.Fuzz(check)
}

// What the scanner calls compact is what encoding/json leaves as it is.
func FuzzScan(f *testing.F) {
	fuzzJSON(f, func(t *testing.T, raw []byte) {
		s := scanner{b: raw}
		s.space()
		require.Equal(t, json.Valid(raw), s.value() && s.end())
		var b bytes.Buffer
		compact := json.Compact(&b, raw) == nil && bytes.Equal(raw, b.Bytes())
		require.Equal(t, compact, isCompact(raw))
	})
}

// A change is read as encoding/json would read its members one by one, and
// written as encoding/json would write them.
func FuzzChange(f *testing.F) {
	fuzzJSON(f, func(t *testing.T, raw []byte) {
		var want, got Change
		wantErr, gotErr := plainRead(raw, &want), got.decode(raw)
		if wantErr != nil {
			require.Error(t, gotErr)
			require.Equal(t, jsonProblem(wantErr), jsonProblem(gotErr))
			return
		}
		require.NoError(t, gotErr)
		require.Equal(t, want, got)
		wantOut, wantErr := plainWrite(want)
		gotOut, gotErr := got.encode()
		require.Equal(t, wantErr == nil, gotErr == nil)
		if wantErr == nil {
			require.Equal(t, string(wantOut), string(gotOut))
		}
	})
}

// plainRead is Change.decode by encoding/json alone.
func plainRead(raw []byte, c *Change) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		to   any
	}{
		{"action", &c.Action},
		{"object", &c.Object},
		{"oldObject", &c.OldObject},
		{"changedBy", &c.ChangedBy},
		{"diff", &c.Diff},
		{"payload", &c.Payload},
	} {
		if value, ok := members[m.name]; ok {
			if err := json.Unmarshal(value, m.to); err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			delete(members, m.name)
		}
	}
	if len(members) > 0 {
		c.Extra = members
	}
	return nil
}

// plainWrite is Change.encode by encoding/json alone.
func plainWrite(c Change) ([]byte, error) {
	type plain Change
	if c.ChangedBy == nil {
		c.ChangedBy = []Manager{}
	}
	out, err := plainMarshal(plain(c))
	if err != nil || len(c.Extra) == 0 {
		return out, err
	}
	extra, err := plainMarshal(c.Extra)
	if err != nil {
		return nil, err
	}
	return append(append(out[:len(out)-1], ','), extra[1:]...), nil
}

func plainMarshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// A member that only one side knows would get lost on the way.
func TestEachMemberOfDataIsWritten(t *testing.T) {
	full := Change{
		Action: Update, Object: json.RawMessage(`{"a": 1}`), OldObject: json.RawMessage("{\"a\":\"\u2028\xff<\"}"),
		ChangedBy: []Manager{{Manager: "m<", Operation: "Update", Subresource: "scale"}},
		Diff: &Diff{
			Summary: "a → b\n", Omitted: 1, Patch: json.RawMessage(`{ }`),
			Changes: []FieldChange{{Op: "replace", Path: "a", From: json.Number("1.50"), To: "<\u2028>"}},
		},
		Payload: &Payload{ContentType: "a/b; c=\"d\"", Data: json.RawMessage(`[1, 2]`), DataBase64: []byte{0, 1}},
		Extra:   map[string]json.RawMessage{"b": nil, "a": json.RawMessage(` "x" `), "ü\n<": json.RawMessage(`null`)},
	}
	want, err := plainWrite(full)
	require.NoError(t, err)
	got, err := full.encode()
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
	var members map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(got, &members))
	require.Subset(t, slices.Collect(maps.Keys(members)), changeMembers[:])

	for _, broken := range []Change{
		{Object: json.RawMessage(`{`)},
		{OldObject: json.RawMessage(`{"a":1}}`)},
		{Diff: &Diff{Patch: json.RawMessage(`x`)}},
		{Payload: &Payload{Data: json.RawMessage("\"\n\"")}},
		{Extra: map[string]json.RawMessage{"a": json.RawMessage("")}},
	} {
		_, want := plainWrite(broken)
		_, got := broken.encode()
		require.Error(t, want)
		require.Error(t, got)
	}
	empty, err := (&Change{Diff: &Diff{}, Payload: &Payload{}}).encode()
	require.NoError(t, err)
	want, err = plainWrite(Change{Diff: &Diff{}, Payload: &Payload{}})
	require.NoError(t, err)
	require.Equal(t, string(want), string(empty))
}

// A manifest is read as encoding/json reads it.
func FuzzDecodeManifest(f *testing.F) {
	fuzzJSON(f, func(t *testing.T, raw []byte) {
		got, gotErr := DecodeManifest(raw)
		if len(raw) == 0 {
			require.NoError(t, gotErr)
			require.Nil(t, got)
			return
		}
		want, wantErr := decodePlainly(raw)
		require.Equal(t, wantErr, gotErr)
		require.Equal(t, want, got)
	})
}

// Two manifests that share parts read as if they did not.
func FuzzDecodeManifests(f *testing.F) {
	const long = `{"name":"a container of some length","list":[1,{"x":"another one of some length"}]}`
	for _, s := range oddJSON {
		f.Add([]byte(s), []byte(s))
		f.Add([]byte(`{"a":`+long+`,"b":[`+long+`,1,`+long+`]}`), []byte(`{"a":`+s+`,"b":[0,`+long+`,`+long+`],"c":`+long+`}`))
	}
	f.Fuzz(func(t *testing.T, oldRaw, newRaw []byte) {
		before, after, err := DecodeManifests(oldRaw, newRaw)
		wantBefore, oldErr := DecodeManifest(oldRaw)
		wantAfter, newErr := DecodeManifest(newRaw)
		require.Equal(t, oldErr != nil || newErr != nil, err != nil)
		if err == nil {
			require.Equal(t, wantBefore, before)
			require.Equal(t, wantAfter, after)
		}
	})
}

// Each level of a nest is compared as a whole, so there is an end to it: ten
// thousand times four megabytes would take seconds.
func TestSharingEndsInTheDeep(t *testing.T) {
	const depth = maxNesting - 1
	raw := []byte(`{"a":` + strings.Repeat("[", depth) + `"` + strings.Repeat("x", smallest) + `"` + strings.Repeat("]", depth) + `}`)
	d := decoder{scanner: scanner{b: raw}, source: string(raw), peer: -1, spans: []span{}}
	_, ok := d.manifest()
	require.True(t, ok)
	require.Len(t, d.spans, deepest)
}
