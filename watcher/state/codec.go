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
// no vocabularies, and becomes 2 with the first.
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

// appendBinary appends a vocabulary: its number, and to the end its text.
func (v *vocabulary) appendBinary(b []byte) ([]byte, error) {
	return append(binary.AppendUvarint(b, uint64(v.number)), v.text...), nil
}

func parseVocabulary(resource string, b []byte) (vocabulary, error) {
	number, width := binary.Uvarint(b)
	if width <= 0 || number > math.MaxUint32 {
		return vocabulary{}, errors.New("a vocabulary has no number")
	}
	return vocabulary{resource, uint32(number), bytes.Clone(b[width:])}, nil
}

// changeHead is what a queued change keeps besides its two objects.
type changeHead struct {
	Scope     *Scope          `json:"scope"`
	Action    event.Action    `json:"action"`
	ChangedBy []event.Manager `json:"changedBy"`
	Via       string          `json:"via"`
	Time      time.Time       `json:"time"`
}

func (c *Change) appendBinary(b []byte) ([]byte, error) {
	head, err := json.Marshal(changeHead{c.scope, c.action, c.changedBy, c.via, c.time})
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
	c := &Change{scope: head.Scope, action: head.Action, changedBy: head.ChangedBy, via: head.Via, time: head.Time}
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
