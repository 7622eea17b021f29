package source

import (
	"bufio"
	"errors"
	"io"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
)

// maxLine bounds one watch event in bytes, far above what etcd stores.
const maxLine = 64 << 20

var errLine = errors.New("watch event is larger than 64 MiB")

// ahead is how many events may be decoded while one is compared: enough that
// two processors can share the work.
const ahead = 8

// stream reads a watch line by line, and only a few ahead of what the reflector
// has taken, so that a full queue pushes back to the API server.
type stream struct {
	body    io.ReadCloser
	decoder decoder
	note    func(error) // learns of the errors that the server sends
	beat    func()      // a line was read
	events  chan watch.Event
	stopped chan struct{}
	once    sync.Once
}

func newStream(body io.ReadCloser, d decoder, note func(error), beat func()) *stream {
	return &stream{body: body, decoder: d, note: note, beat: beat, events: make(chan watch.Event, ahead), stopped: make(chan struct{})}
}

// ResultChan is closed when the watch ends.
func (s *stream) ResultChan() <-chan watch.Event { return s.events }

// Stop ends the watch; it may be called more than once.
func (s *stream) Stop() {
	s.once.Do(func() {
		close(s.stopped)
		closeBody(s.body)
	})
}

// run reads until the stream ends or is stopped.
func (s *stream) run() {
	defer close(s.events)
	defer s.Stop()
	r := bufio.NewReaderSize(s.body, 64<<10)
	var line []byte
	for {
		var err error
		if line, err = readLine(r, line[:0]); err != nil {
			if errors.Is(err, errLine) {
				s.send(brokenEvent(err))
			}
			return // a line cut off by the end of the stream comes again
		}
		s.beat()
		if len(line) == 0 {
			continue
		}
		ev, err := s.decoder.event(line)
		if err != nil {
			ev = brokenEvent(err)
		}
		if ev.Type == watch.Bookmark {
			s.decoder.bulk = false // behind the initial events, if these were such
		}
		if ev.Type == watch.Error {
			s.note(apierrors.FromObject(ev.Object))
		}
		if !s.send(ev) || ev.Type == watch.Error {
			return
		}
	}
}

func (s *stream) send(ev watch.Event) bool {
	select {
	case s.events <- ev:
		return true
	case <-s.stopped:
		return false
	}
}

// readLine appends a whole line without its end to line.
func readLine(r *bufio.Reader, line []byte) ([]byte, error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		case len(line) > maxLine:
			return line, errLine
		}
	}
}

// closeBody ends a response that is not needed any more; there is nothing to
// learn from an error here.
func closeBody(c io.Closer) { _ = c.Close() }
