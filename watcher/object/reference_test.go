package object

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The comparison walks texts; this one, slow and plain, walks decoded values. The
// two have to name the same owners.

type treeNode struct {
	entry  int
	fields map[string]json.RawMessage
}

func openTree(entry int, raw json.RawMessage) (treeNode, bool) {
	n := treeNode{entry: entry}
	return n, len(raw) > 0 && json.Unmarshal(raw, &n.fields) == nil
}

func attributeTree(nodes []treeNode, old, now any, hadOld, hasNow bool, owners map[int]bool) bool {
	if hadOld == hasNow && reflect.DeepEqual(old, now) {
		return false
	}
	children := map[string][]treeNode{}
	for _, n := range nodes {
		for key, raw := range n.fields {
			if key == "." {
				continue
			}
			if child, ok := openTree(n.entry, raw); ok {
				children[key] = append(children[key], child)
			}
		}
	}
	found := false
	for key, below := range children {
		oldChild, hadChild := stepTree(old, key)
		newChild, hasChild := stepTree(now, key)
		if attributeTree(below, oldChild, newChild, hadChild, hasChild, owners) {
			found = true
		}
	}
	if found {
		return true
	}
	for _, n := range nodes {
		_, dot := n.fields["."]
		if len(n.fields) == 0 || dot && !hadOld && hasNow {
			owners[n.entry] = true
			found = true
		}
	}
	return found
}

func stepTree(value any, element string) (any, bool) {
	kind, arg, _ := strings.Cut(element, ":")
	switch v := value.(type) {
	case map[string]any:
		if kind == "f" {
			child, ok := v[arg]
			return child, ok
		}
	case []any:
		if kind == "i" {
			if i, err := strconv.Atoi(arg); err == nil && i >= 0 && i < len(v) {
				return v[i], true
			}
		}
		var want any
		if kind != "k" && kind != "v" || decodeValue([]byte(arg), &want) != nil {
			return nil, false
		}
		keys, ok := want.(map[string]any)
		for _, item := range v {
			fields, isMap := item.(map[string]any)
			switch {
			case kind == "v" && reflect.DeepEqual(item, want):
				return item, true
			case kind == "k" && ok && len(keys) > 0 && isMap && has(fields, keys):
				return item, true
			}
		}
	}
	return nil, false
}

func has(item, keys map[string]any) bool {
	for name, want := range keys {
		if got, ok := item[name]; !ok || !reflect.DeepEqual(got, want) {
			return false
		}
	}
	return true
}

func ownersByTree(t testing.TB, old, now []byte, fields []string) []int {
	var roots []treeNode
	for i, raw := range fields {
		if n, ok := openTree(i, json.RawMessage(raw)); ok && len(n.fields) > 0 {
			roots = append(roots, n)
		}
	}
	var a, b any
	if len(old) > 0 {
		require.NoError(t, decodeValue(old, &a))
	}
	require.NoError(t, decodeValue(now, &b))
	owners := map[int]bool{}
	attributeTree(roots, a, b, len(old) > 0, true, owners)
	return slices.Sorted(maps.Keys(owners))
}

func ownersByTape(t testing.TB, old, now []byte, fields []string) []int {
	var entries []string
	for _, raw := range fields {
		entries = append(entries, `{"manager":"m","fieldsV1":`+raw+`}`)
	}
	c := &comparison{}
	require.NoError(t, c.read(old, now, []byte("["+strings.Join(entries, ",")+"]")))
	_, err := c.entries()
	require.NoError(t, err)
	c.attribute(0, len(c.sets), c.oldRoot(), 0)
	var owners []int
	for _, o := range c.owners {
		owners = append(owners, int(o))
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// random makes values and sets of paths that fit each other often.
type random struct{ *rand.Rand }

func (r random) value(depth int) string {
	switch n := r.IntN(8); {
	case depth == 0 || n < 3:
		return []string{`1`, `2`, `1.0`, `"a"`, `"b"`, `"\u0061"`, `"<"`, `"\u003c"`, `null`, `true`, `{}`, `[]`}[r.IntN(12)]
	case n < 6:
		var members []string
		for _, i := range r.Perm(4)[:r.IntN(5)] {
			members = append(members, `"`+string("abcn"[i])+`":`+r.value(depth-1))
		}
		return "{" + strings.Join(members, ",") + "}"
	case n == 6:
		var items []string
		for i := range r.IntN(4) {
			items = append(items, `{"n":"`+string("xyz<"[(i+r.IntN(2))%4])+`","v":`+r.value(depth-1)+`}`)
		}
		return "[" + strings.Join(items, ", ") + "]"
	default:
		return "[" + r.value(0) + "," + r.value(0) + "]"
	}
}

func (r random) set(depth int) string {
	var members []string
	if r.IntN(3) == 0 {
		members = append(members, `".":{}`)
	}
	elements := []string{
		`f:a`, `f:b`, `f:c`, `f:n`, `f:v`, `k:{\"n\":\"x\"}`, `k:{\"n\":\"y\"}`, `k:{\"n\":\"\\u003c\"}`, `v:\"a\"`, `v:1`, `i:0`, `i:1`,
	}
	for _, i := range r.Perm(len(elements))[:r.IntN(6)] {
		below := `{}`
		if depth > 0 && r.IntN(3) > 0 {
			below = r.set(depth - 1)
		}
		members = append(members, `"`+elements[i]+`":`+below)
	}
	return "{" + strings.Join(members, ",") + "}"
}

func TestOwnersAreThoseOfThePlainComparison(t *testing.T) {
	named := 0
	for seed := range uint64(10_000) {
		r := random{rand.New(rand.NewPCG(seed, 7))}
		old, now := []byte(r.value(4)), []byte(r.value(4))
		if r.IntN(3) == 0 { // alike but for one value, or for none
			now = bytes.Replace(old, []byte(`"b":2`), []byte(`"b":`+r.value(1)), 1)
		}
		if r.IntN(20) == 0 {
			old = nil
		}
		fields := []string{r.set(3), r.set(3), r.set(2)}
		want := ownersByTree(t, old, now, fields)
		require.Equal(t, want, ownersByTape(t, old, now, fields), "seed %d\n%s\n%s\n%s", seed, old, now, fields)
		named += len(want)
	}
	require.Greater(t, named, 3_000, "the values and the sets fit")
}

// FuzzTape: what is JSON can be walked, and what is not does no harm.
func FuzzTape(f *testing.F) {
	for _, raw := range []string{`{"a":[1,"\"",{}],"b":null}`, ` [ ] `, `"\\"`, `{"a"`, `[1,]`, `{"a":1,}`, `12e+3`, `{"a":{"b":[[]]}}x`} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p tape
		err := p.read(raw)
		if json.Valid(raw) {
			require.NoError(t, err)
			require.Equal(t, bytes.TrimSpace(raw), p.bytes(0))
			require.Equal(t, len(p.at), int(p.at[0].next))
		}
		if err != nil {
			return
		}
		for i := range p.at {
			at := int32(i)
			for m := p.first(at); m != none; m = p.after(at, m) {
				require.Greater(t, m, at)
			}
		}
	})
}
