package deadletter

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/event/eventtest"
)

func sample(n int) *event.Event {
	e := eventtest.Sample(event.Update)
	e.ID = fmt.Sprintf("u.%d.update", n)
	e.Extensions = map[string]string{"kwatchmanstep": "2", "team": "Grüße"}
	return &e
}

// all reads a file and gives the ids, and the lines that were cut short.
func all(t *testing.T, path string) (ids []string, cut []int, err error) {
	t.Helper()
	r, err := Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	err = r.Each(func(l Letter, e event.Event) error {
		again, err := r.Event(l)
		require.NoError(t, err)
		require.Equal(t, e, again, "line %d", l.Line)
		ids = append(ids, e.ID)
		return nil
	}, func(line int) { cut = append(cut, line) })
	return ids, cut, err
}

func TestWhatIsPutIsReadAgainAsItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	f, err := NewFile(path)
	require.NoError(t, err)
	require.NoFileExists(t, path, "there is nothing to keep yet")
	require.Equal(t, path, f.Name())
	for n := range 3 {
		require.NoError(t, f.Put(context.Background(), sample(n)))
	}
	ids, cut, err := all(t, path)
	require.NoError(t, err)
	require.Equal(t, []string{"u.0.update", "u.1.update", "u.2.update"}, ids)
	require.Empty(t, cut)
	r, err := Open(path)
	require.NoError(t, err)
	defer func() { _ = r.Close() }()
	require.NoError(t, r.Each(func(_ Letter, e event.Event) error {
		want := sample(0)
		want.ID, want.Time = e.ID, e.Time
		require.True(t, e.Time.Equal(sample(0).Time))
		require.Equal(t, *want, e)
		return nil
	}, nil))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode(), "nobody else reads manifests")
}

func TestALineThatWasCutShortStaysAloneAndIsPassedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	f, err := NewFile(path)
	require.NoError(t, err)
	require.NoError(t, f.Put(context.Background(), sample(1)))
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	for size := range len(content) {
		require.NoError(t, os.WriteFile(path, content[:size], 0o600))
		require.NoError(t, f.Put(context.Background(), sample(2)))
		ids, cut, err := all(t, path)
		require.NoError(t, err, "cut at %d", size)
		switch size {
		case 0:
			require.Equal(t, []string{"u.2.update"}, ids)
		case len(content) - 1: // only the line's end is missing
			require.Equal(t, []string{"u.1.update", "u.2.update"}, ids)
		default:
			require.Equal(t, []string{"u.2.update"}, ids)
			require.Equal(t, []int{1}, cut)
		}
	}
}

func TestOnlyWhatTheFileHeldAtFirstIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	f, err := NewFile(path)
	require.NoError(t, err)
	require.NoError(t, f.Put(context.Background(), sample(1)))
	r, err := Open(path)
	require.NoError(t, err)
	defer func() { _ = r.Close() }()
	n := 0
	require.NoError(t, r.Each(func(Letter, event.Event) error {
		n++
		return f.Put(context.Background(), sample(2))
	}, nil))
	require.Equal(t, 1, n)
}

func TestAFileMayBeMovedAwayWhileItIsInUse(t *testing.T) {
	dir := t.TempDir()
	path, moved := filepath.Join(dir, FileName), filepath.Join(dir, "moved")
	f, err := NewFile(path)
	require.NoError(t, err)
	require.NoError(t, f.Put(context.Background(), sample(1)))
	require.NoError(t, os.Rename(path, moved))
	require.NoError(t, f.Put(context.Background(), sample(2)))
	ids, _, err := all(t, path)
	require.NoError(t, err)
	require.Equal(t, []string{"u.2.update"}, ids)
}

func TestManyMayPutAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	f, err := NewFile(path)
	require.NoError(t, err)
	var running sync.WaitGroup
	for n := range 50 {
		running.Go(func() {
			if err := f.Put(context.Background(), sample(n)); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	ids, cut, err := all(t, path)
	require.NoError(t, err)
	require.Len(t, ids, 50)
	require.Empty(t, cut)
}

func TestJSONThatIsNoEventIsAnErrorWithoutItsContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	f, err := NewFile(path)
	require.NoError(t, err)
	require.NoError(t, f.Put(context.Background(), sample(1)))
	for _, line := range []string{`{"hunter2":"hunter2"}`, `"hunter2"`, `{"specversion":"1.0","hunter2":1}`, `{"specversion":"0.3","id":"hunter2"}`} {
		require.NoError(t, os.WriteFile(path, []byte(line+"\n"), 0o600))
		_, _, err := all(t, path)
		require.ErrorContains(t, err, path+": line 1 is no event of kwatchman: ")
		require.NotContains(t, strings.ReplaceAll(err.Error(), "attribute hunter2", ""), `"hunter2"`)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestALargeEventIsReadWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	f, err := NewFile(path)
	require.NoError(t, err)
	large := sample(1)
	large.Object, err = json.Marshal(map[string]any{"data": strings.Repeat("x", 5<<20)})
	require.NoError(t, err)
	require.NoError(t, f.Put(context.Background(), large))
	require.NoError(t, f.Put(context.Background(), sample(2)))
	ids, _, err := all(t, path)
	require.NoError(t, err)
	require.Len(t, ids, 2)
}

func TestAPlaceThatCannotBeWrittenIsOneLine(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for path, want := range map[string]string{
		filepath.Join(dir, "no", "folder"): "no such file or directory",
		filepath.Join(file, "x"):           "not a directory",
		dir:                                "is no regular file",
	} {
		_, err := NewFile(path)
		require.EqualError(t, err, "dead letter "+path+": "+want)
	}
	require.NoError(t, Check(file))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "the check leaves nothing behind")
}
