package model

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheSeedAloneChoosesWhatIsDone(t *testing.T) {
	chosen := func(seed uint64) (out [][]job) {
		o := newOperations(nil, seed, []string{"a", "b"})
		for range 500 {
			out = append(out, o.next())
		}
		return out
	}
	require.Equal(t, chosen(1), chosen(1))
	require.NotEqual(t, chosen(1), chosen(2))
}
