package deadletter

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/kwatchman/kwatchman/event"
)

// maxLine bounds an event in the file in bytes.
const maxLine = 64 << 20

// Reader reads a file of dead letters, as long as it was when it was opened:
// who replays may append to the same file meanwhile.
type Reader struct {
	file *os.File
	size int64
}

// Letter is where in the file an event stands; the event itself is read when
// it is needed.
type Letter struct {
	Line   int // from 1
	offset int64
	size   int
}

// Open opens a file to read. The error is one line.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is no regular file")
	}
	if err != nil {
		_ = f.Close() // it was not read
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	return &Reader{file: f, size: info.Size()}, nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// Each calls for every event of the file, in order, until of returns an error.
// JSON that is no event is an error that names its line and holds nothing of it.
// A line that is no JSON, as a crash or a full disk leaves one behind, is told
// to broken and passed over.
func (r *Reader) Each(of func(Letter, event.Event) error, broken func(line int)) error {
	lines := bufio.NewReaderSize(io.NewSectionReader(r.file, 0, r.size), 64<<10)
	l := Letter{}
	for {
		raw, err := readLine(lines)
		if len(raw) == 0 && errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: line %d: %w", r.file.Name(), l.Line+1, reason(err))
		}
		l.Line++
		l.size = len(raw)
		if len(bytes.TrimSpace(raw)) > 0 {
			e, bad := decode(raw)
			switch {
			case bad != nil && json.Valid(raw):
				return fmt.Errorf("%s: line %d is no event of kwatchman: %w", r.file.Name(), l.Line, bad)
			case bad != nil:
				broken(l.Line)
			default:
				if err := of(l, e); err != nil {
					return fmt.Errorf("%s: line %d: %w", r.file.Name(), l.Line, err)
				}
			}
		}
		l.offset += int64(len(raw))
	}
}

// Event reads an event once more.
func (r *Reader) Event(l Letter) (event.Event, error) {
	raw := make([]byte, l.size)
	if _, err := r.file.ReadAt(raw, l.offset); err != nil {
		return event.Event{}, fmt.Errorf("%s: line %d: %w", r.file.Name(), l.Line, reason(err))
	}
	return decode(raw)
}

func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
		if len(line) > maxLine {
			return nil, fmt.Errorf("longer than %d bytes", maxLine)
		}
	}
}

func decode(raw []byte) (event.Event, error) {
	return event.Decode(http.Header{"Content-Type": {"application/cloudevents+json"}}, raw)
}
