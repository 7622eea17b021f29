package state

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mappedBytes is how much of a file is mapped into this process.
func mappedBytes(t *testing.T, path string) (size int64) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, path) {
			continue
		}
		var from, to int64
		_, err := fmt.Sscanf(line, "%x-%x", &from, &to)
		require.NoError(t, err)
		size += to - from
	}
	return size
}

// What lies behind the mapping is not the state's to give back.
func TestOnlyWhatIsMappedIsGivenBack(t *testing.T) {
	f, _, err := openFile(t.TempDir(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.close()) }()
	longer := false
	for n := range uint64(60) {
		b := newBatch(n)
		b.setInput(n, &keptInput{input: make([]byte, 1<<20)})
		require.NoError(t, f.commit(b))
		mapped := mappedBytes(t, f.path)
		require.Positive(t, mapped)
		require.LessOrEqual(t, f.used(), mapped)
		info, err := os.Stat(f.path)
		require.NoError(t, err)
		longer = longer || info.Size() > mapped
	}
	require.True(t, longer, "the file is longer than its mapping at times, or this test shows nothing")
}
