package log

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

func BenchmarkHandle(b *testing.B) {
	e := eventtest.SampleLarge(false)
	e.Payload = event.TextPayload("text/x-diff; charset=utf-8", strings.Repeat("       - name: SETTING_00\n", 60))
	for _, format := range formats {
		b.Run(format, func(b *testing.B) {
			h, err := New(Config{Format: format, out: io.Discard})
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h(b.Context(), e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
