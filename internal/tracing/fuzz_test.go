package tracing

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzParse reads what anybody may send as traceparent and tracestate.
func FuzzParse(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b,c@d=e")
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "")
	f.Add("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff-more", "=")
	f.Add("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "")
	f.Add("00-00000000000000000000000000000000-0000000000000000-01", "")
	f.Fuzz(func(t *testing.T, parent, state string) {
		sc := parse(parent, state)
		if !sc.IsValid() {
			return
		}
		again := parse(format(sc), sc.TraceState().String())
		require.True(t, sc.Equal(again), "%q %q", parent, state)
		require.Len(t, format(sc), 55)
	})
}
