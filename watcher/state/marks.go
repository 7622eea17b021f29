package state

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// Marks say up to where all changes are acknowledged, and which are not. They are
// what a leader leaves to the next one, which lists the objects as they were there.
type Marks struct {
	Epoch   int64 // of the leader that wrote them
	Watches []Mark
	Since   Since
}

// Mark is that of one watch: Version is the resourceVersion up to which all is
// acknowledged but the changes of the objects in Waiting.
type Mark struct {
	Watch
	// At, in Unix seconds, is when that was so, at the latest: what was created
	// later was not seen.
	At int64
	// Waiting are the objects with changes that are not acknowledged. Without this
	// list one object whose endpoint fails would hold Version back for all others,
	// and what was told of them would be told once more, as other changes where the
	// API server has lost its history meanwhile.
	Waiting []WaitingObject `json:",omitempty"`
	// Seen is the version up to which all was seen, where that is another one
	// because too many objects wait for Waiting to name them.
	Seen string `json:",omitempty"`
	// Ended tells that nobody follows the watch any more: only Waiting is left.
	Ended bool `json:",omitempty"`
}

// WaitingObject names the changes of one object that are not acknowledged by the
// versions that are enough to read them again from the API server's history.
type WaitingObject struct {
	Key string `json:"k"` // object.Key
	// From is the version that was acknowledged last; empty: it was not there.
	From string `json:"f,omitempty"`
	// Deleted are the versions that are told as deleted, in order.
	Deleted []string `json:"d,omitempty"`
	// To is the newest version; empty: the object is deleted.
	To string `json:"t,omitempty"`
	// Owed tells that the leader could not read them either: it has them from the one
	// before, for a replica that has them in its state.
	Owed bool `json:"o,omitempty"`
}

// marksText is how marks are written.
type marksText struct {
	Epoch   int64        `json:"epoch"`
	Watches []Mark       `json:"watches,omitempty"`
	Since   []sinceEntry `json:"since,omitempty"`
}

// packed starts marks that would be long as plain JSON.
const packed = "zstd:"

// plainMarks is how long, in bytes, plain JSON may be.
const plainMarks = 4 << 10

// Text writes marks in one line.
func (m *Marks) Text(zip *object.Compressor) string {
	raw, err := json.Marshal(marksText{m.Epoch, m.Watches, m.Since.entries()})
	if err != nil {
		panic(err) // they hold texts and numbers
	}
	if len(raw) > plainMarks {
		return packed + base64.StdEncoding.EncodeToString(zip.Compress(raw))
	}
	return string(raw)
}

// ParseMarks reads what Text wrote.
func ParseMarks(text string, zip *object.Compressor) (*Marks, error) {
	raw := []byte(text)
	if body, ok := strings.CutPrefix(text, packed); ok {
		compressed, err := base64.StdEncoding.DecodeString(body)
		if err == nil {
			raw, err = zip.Decompress(compressed)
		}
		if err != nil {
			return nil, errors.New("the watermarks cannot be unpacked")
		}
	}
	var t marksText
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, errors.New("the watermarks are not what kwatchman writes")
	}
	m := &Marks{Epoch: t.Epoch, Watches: t.Watches, Since: Since{}}
	for _, e := range t.Since {
		m.Since[e.Name] = e.At
	}
	for _, w := range m.Watches {
		if w.Version == "" || w.Resource.Resource == "" || w.Resource.Version == "" {
			return nil, fmt.Errorf("the watermark of %.80q has no version or resource", w.Name)
		}
	}
	return m, nil
}

// entries lists since in order.
func (s Since) entries() []sinceEntry {
	out := make([]sinceEntry, 0, len(s))
	for _, name := range slices.SortedFunc(maps.Keys(s), func(a, b Name) int {
		return strings.Compare(a.Name+"/"+a.Namespace, b.Name+"/"+b.Namespace)
	}) {
		out = append(out, sinceEntry{name, s[name]})
	}
	return out
}
