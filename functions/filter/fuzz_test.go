package filter

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

func quiet(f *testing.F) {
	before := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	f.Cleanup(func() { slog.SetDefault(before) })
}

// Any text is a rule or an error of one line, and any rule comes to its end.
func FuzzRules(f *testing.F) {
	quiet(f)
	for _, rule := range []string{
		"namespace == 'shop'", "a: true\nb: kind == 'Pod' ||\n  changed('spec.*')", "object.spec.replicas > 3u", "r'namespace' + b'x'",
		"object.metadata.labels.all(k, k.matches('^[a-z]+$'))", "{'a': [1, 2.5, null]}.a[0] == 1", "cel.bind(x, x, x)", "'''", "a: \"\\",
		"[1,2,3].map(x, [1,2,3].map(y, x * y)) == []", "onlyChanged(1)", "changed", "duration('1s') < time", "1/0 == 1", "-9223372036854775808 - 1 > 0",
	} {
		f.Add(rule, true)
		f.Add(rule, false)
	}
	e := update()
	f.Fuzz(func(t *testing.T, text string, several bool) {
		cfg := Config{Rule: text, OnError: "fail"}
		if several {
			cfg = Config{Rules: text, OnError: "fail", Match: "any"}
		}
		h, err := New(cfg)
		if err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err = h(ctx, e)
		require.NoError(t, ctx.Err())
		if err != nil {
			require.Less(t, len(err.Error()), 10_000)
		}
	})
}

// The word that CEL refuses is replaced nowhere but as a variable, and columns
// stay.
func FuzzReserved(f *testing.F) {
	f.Add("namespace == 'namespace' && a.namespace // namespace")
	f.Add(`r"\" + namespace`)
	f.Fuzz(func(t *testing.T, text string) {
		got := allowReserved(text)
		if !strings.Contains(text, inside) {
			require.Equal(t, text, strings.ReplaceAll(got, inside, reserved))
		}
	})
}

// Any manifest is evaluated or an error.
func FuzzManifests(f *testing.F) {
	quiet(f)
	f.Add([]byte(`{"spec":{"replicas":3}}`), []byte(`{"spec":{"replicas":1e400}}`))
	f.Add([]byte(`{"a":[1,2.5,"x",null,{"b":18446744073709551615}]}`), []byte(`{}`))
	f.Add([]byte(`null`), []byte(`{"a":`))
	h, err := New(Config{Rule: `object == oldObject || object.all(k, object[k] != null) || object.?spec.?replicas.orValue(0) > 3 || changed("a")`})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, old, now []byte) {
		e := eventtest.Sample(event.Update)
		e.OldObject, e.Object = old, now
		got, err := h(t.Context(), e)
		require.True(t, got != nil || err != nil)
	})
}

func BenchmarkHandle(b *testing.B) {
	for name, rule := range map[string]string{
		"attributes": `namespace == "shop" && action != "Delete"`,
		"manifest":   `object.spec.template.spec.containers.exists(c, c.image != "") && oldObject.spec.replicas != object.spec.replicas`,
	} {
		b.Run(name, func(b *testing.B) {
			h, err := New(Config{Rule: rule})
			require.NoError(b, err)
			e := eventtest.SampleLarge(false)
			b.ReportAllocs()
			for b.Loop() {
				if got, err := h(b.Context(), e); got == nil || err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestFewAllocationsForARuleAboutAttributes(t *testing.T) {
	h := newFilter(t, Config{Rule: `namespace == "shop" && action != "Delete"`})
	e := eventtest.SampleLarge(false)
	eventtest.Allocs(t, 40, func() {
		got, err := h(t.Context(), e)
		require.NoError(t, err)
		require.NotNil(t, got)
	})
}
