package state

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/kwatchman/kwatchman/event"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// format is that of the file: what it holds and how. A file of a later one is
// refused; a change that this code could not read has to raise it. Format 1 has
// no dictionaries, and becomes 2 with the first.
const (
	format      = "2"
	firstFormat = "1"
)

// Every record starts with a checksum of the rest: bbolt has one for its two
// meta pages only.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sumSize = 4

var errSum = errors.New("a checksum does not fit")

// sealed is a record with its checksum; fill appends the record.
func sealed(fill func([]byte) ([]byte, error)) ([]byte, error) {
	b, err := fill(make([]byte, sumSize, 512))
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[sumSize:], castagnoli))
	return b, nil
}

// opened is the record without its checksum, which has to fit.
func opened(b []byte) ([]byte, error) {
	if len(b) < sumSize || crc32.Checksum(b[sumSize:], castagnoli) != binary.BigEndian.Uint32(b) {
		return nil, errSum
	}
	return b[sumSize:], nil
}

func sealedJSON(v any) ([]byte, error) {
	return sealed(func(b []byte) ([]byte, error) {
		raw, err := json.Marshal(v)
		return append(b, raw...), err
	})
}

func openedJSON(b []byte, into any) error {
	raw, err := opened(b)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// appendBinary appends a dictionary: its number, and to the end its text.
func (d *dictionary) appendBinary(b []byte) ([]byte, error) {
	return append(binary.AppendUvarint(b, uint64(d.number)), d.text...), nil
}

func parseDictionary(resource string, b []byte) (dictionary, error) {
	number, width := binary.Uvarint(b)
	if width <= 0 || number > math.MaxUint32 {
		return dictionary{}, errors.New("a dictionary has no number")
	}
	return dictionary{resource, uint32(number), bytes.Clone(b[width:])}, nil
}

// withStep begins an input that is kept with its step. One of older versions
// begins with zstd's magic number, so with 0x28; it has no step, and is dropped.
// format stays: an older version drops all inputs at its start anyway.
const withStep = 0x01

// appendBinary appends withStep, the step, the length of before, before, and to
// the end the input.
func (k *keptInput) appendBinary(b []byte) ([]byte, error) {
	b = binary.AppendUvarint(append(b, withStep), uint64(k.step)) //nolint:gosec // steps are counted from 0
	b = binary.AppendUvarint(b, uint64(len(k.before)))
	return append(append(b, k.before...), k.input...), nil
}

// hasStep tells whether a record is one that openInput gives something of.
func hasStep(record []byte) bool { return len(record) > sumSize && record[sumSize] == withStep }

// openInput reads a record of an input, which is a part of it; nil: it is of an
// older version.
func openInput(record []byte) (*keptInput, error) {
	b, err := opened(record)
	if err != nil || !hasStep(record) {
		return nil, err
	}
	var numbers [2]uint64
	b = b[1:]
	for i := range numbers {
		n, width := binary.Uvarint(b)
		if width <= 0 || n > math.MaxInt32 {
			return nil, errInput
		}
		numbers[i], b = n, b[width:]
	}
	if numbers[1] > uint64(len(b)) {
		return nil, errInput
	}
	step := int(numbers[0]) //nolint:gosec // checked above
	return &keptInput{step: step, before: string(b[:numbers[1]]), input: b[numbers[1]:]}, nil
}

var errInput = errors.New("an input that is kept cannot be read")

// sinceEntry is an entry of Since as it is kept.
type sinceEntry struct {
	Name
	At int64
}

// changeHead is what a queued change keeps besides its two objects.
type changeHead struct {
	Scope     *Scope          `json:"scope"`
	Action    event.Action    `json:"action"`
	ChangedBy []event.Manager `json:"changedBy"`
	Via       string          `json:"via"`
	Time      time.Time       `json:"time"`
	Amid      bool            `json:"amid,omitempty"`
}

func (c *Change) appendBinary(b []byte) ([]byte, error) {
	head, err := json.Marshal(changeHead{c.scope, c.action, c.changedBy, c.via, c.time, c.amid})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", c, err)
	}
	parts := [][]byte{head, nil, nil}
	for i, o := range []*object.Object{c.old, c.now} {
		if o != nil {
			if parts[i+1], err = o.AppendBinary(nil); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range parts {
		b = append(binary.AppendUvarint(b, uint64(len(p))), p...)
	}
	return b, nil
}

var errChange = errors.New("a queued change cannot be read")

// parseChange reads what appendBinary wrote; it keeps nothing of b.
func parseChange(b []byte) (*Change, error) {
	var parts [3][]byte
	for i := range parts {
		n, width := binary.Uvarint(b)
		if width <= 0 || n > uint64(len(b)-width) { //nolint:gosec // width is at most len(b)
			return nil, errChange
		}
		parts[i], b = b[width:width+int(n)], b[width+int(n):] //nolint:gosec // n is at most len(b)
	}
	var head changeHead
	if json.Unmarshal(parts[0], &head) != nil || head.Scope == nil {
		return nil, errChange
	}
	c := &Change{scope: head.Scope, action: head.Action, changedBy: head.ChangedBy, via: head.Via, time: head.Time, amid: head.Amid}
	for i, o := range []**object.Object{&c.old, &c.now} {
		if len(parts[i+1]) == 0 {
			continue
		}
		var err error
		if *o, err = object.Parse(parts[i+1]); err != nil {
			return nil, err
		}
	}
	if c.old == nil && c.now == nil {
		return nil, errChange
	}
	return c, nil
}
