package eventtest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Allocs requires that f allocates at most most times. Allocations are counted
// because time says little on a machine that does other work. Under the race
// detector, which allocates for itself, there is nothing to count.
func Allocs(t *testing.T, most int, f func()) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector allocates, too")
	}
	require.LessOrEqual(t, int(testing.AllocsPerRun(100, f)), most, "allocations")
}
