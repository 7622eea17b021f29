package model

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheSeedAloneChoosesWhatIsDone(t *testing.T) {
	chosen := func(seed uint64) (out [][]job) {
		o := newOperations(nil, seed, 1, []string{"a", "b"})
		for range 500 {
			out = append(out, o.next())
		}
		return out
	}
	first := chosen(1)
	require.Equal(t, first, chosen(1))
	require.NotEqual(t, first, chosen(2))
}
