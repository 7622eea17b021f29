package state_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/kwatchman/kwatchman/watcher/state"
)

// keeps checks what is kept for a change; a nil input: nothing.
func keeps(t *testing.T, q *state.Queued, step int, before string, input []byte) {
	t.Helper()
	gotStep, gotBefore, ok := q.KeptStep()
	require.Equal(t, input != nil, ok)
	require.Equal(t, step, gotStep)
	require.Equal(t, before, gotBefore)
	kept, err := q.Kept()
	require.NoError(t, err)
	require.Equal(t, input, kept)
}

func TestTheInputThatIsKeptLastCounts(t *testing.T) {
	inBoth(t, deployments, func(t *testing.T, w *world) {
		w.see("web", 1, "")
		w.waiting()
		q, size := w.queued[0], w.state.WaitingBytes()
		keeps(t, q, 0, "", nil)
		for i, input := range [][]byte{[]byte("first"), bytes.Repeat([]byte("second"), 1000), {}} {
			q.Keep(i, "steps", input)
			keeps(t, q, i, "steps", input) // before it is written
			require.NoError(t, w.state.Flush(t.Context()))
			keeps(t, q, i, "steps", input)
			require.Equal(t, size+len(input), w.state.WaitingBytes())
		}
		q.Keep(7, "steps", nil)
		keeps(t, q, 0, "", nil)
		require.NoError(t, w.state.Flush(t.Context()))
		keeps(t, q, 0, "", nil)
		require.Equal(t, size, w.state.WaitingBytes())
	})
}

func TestAStepThatIsKeptOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, deployments, dir)
	for i, name := range []string{"a", "b", "c"} {
		w.see(name, i+1, "")
	}
	w.waiting()
	w.queued[0].Keep(2, "diff,log", []byte("input of step 2"))
	w.queued[1].Keep(1, "diff", []byte("input of step 1"))
	w.queued[1].Keep(1, "", nil)
	w.queued[2].Keep(1<<20, "", []byte{})
	size := w.state.WaitingBytes()
	require.NoError(t, w.state.Close())
	for range 2 { // a start keeps it, and so does the next
		next := newWorld(t, deployments, dir)
		require.Len(t, next.queued, 3)
		require.Equal(t, size, next.state.WaitingBytes())
		keeps(t, next.queued[0], 2, "diff,log", []byte("input of step 2"))
		keeps(t, next.queued[1], 0, "", nil)
		keeps(t, next.queued[2], 1<<20, "", []byte{})
		require.NoError(t, next.state.Close())
	}
	last := newWorld(t, deployments, dir)
	last.queued[0].Done()
	require.NoError(t, last.state.Close())
	require.Equal(t, []uint64{3}, inputs(t, dir, nil), "with its change it goes")
}

// inputs gives the numbers of the inputs in a file, after change.
func inputs(t *testing.T, dir string, change func(inputs *bolt.Bucket) error) (numbers []uint64) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, state.FileName), 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		all := tx.Bucket([]byte("inputs"))
		if change != nil {
			return change(all)
		}
		return all.ForEach(func(k, _ []byte) error {
			numbers = append(numbers, binary.BigEndian.Uint64(k))
			return nil
		})
	}))
	require.NoError(t, db.Close())
	return numbers
}

// record is one of the file, with its checksum.
func record(content ...byte) []byte {
	sum := crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))
	return append(binary.BigEndian.AppendUint32(nil, sum), content...)
}

func number(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func TestInputsOfOlderVersionsAndOfNoChangeAreDropped(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, deployments, dir)
	w.see("a", 1, "")
	w.see("b", 2, "")
	w.waiting()
	w.queued[1].Keep(1, "diff", []byte("new"))
	require.NoError(t, w.state.Close())
	inputs(t, dir, func(all *bolt.Bucket) error {
		if err := all.Put(number(1), record(0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3)); err != nil {
			return err
		}
		return all.Put(number(99), record(0x01, 1, 0, 'x'))
	})
	opened := openWorld(t, deployments, state.Config{Dir: dir, Events: 10, Bytes: 1 << 20})
	keeps(t, opened.state.Queue()[0], 0, "", nil)
	keeps(t, opened.state.Queue()[1], 1, "diff", []byte("new"))
	require.NoError(t, opened.state.Close())
	require.Equal(t, []uint64{1, 2, 99}, inputs(t, dir, nil), "a state that is only opened stays as it is")

	next := newWorld(t, deployments, dir)
	require.Len(t, next.waiting(), 2)
	keeps(t, next.queued[0], 0, "", nil)
	next.queued[0].Keep(1, "diff", []byte("again"))
	require.NoError(t, next.state.Close())
	require.Equal(t, []uint64{1, 2}, inputs(t, dir, nil))
}

func TestADamagedInputIsADamagedState(t *testing.T) {
	for name, content := range map[string][]byte{
		"no step":      record(0x01),
		"no length":    record(0x01, 1),
		"short before": record(0x01, 1, 5, 'x'),
		"checksum":     append(record(0x01, 1, 0, 'x'), 'y'),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := newWorld(t, deployments, dir)
			w.see("a", 1, "")
			require.NoError(t, w.state.Close())
			inputs(t, dir, func(all *bolt.Bucket) error { return all.Put(number(1), content) })
			require.Contains(t, openFails(t, dir), "is damaged (")
		})
	}
}
