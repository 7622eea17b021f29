package source

import (
	"bufio"
	"context"
	"errors"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// maxLine bounds one watch event in bytes, far above what etcd stores.
const maxLine = 64 << 20

var errLine = errors.New("watch event is larger than 64 MiB")

// ahead is how many events may be decoded while one is compared: enough that
// two processors can share the work.
const ahead = 8

// stream reads a watch line by line, and only a few ahead of what is taken, so
// that a full queue pushes back to the API server.
type stream struct {
	// events is closed when the watch ends; after the last event err may be read.
	events chan watchEvent
	err    error // why it ended; nil: the server ended it, as it does from time to time

	body    io.ReadCloser
	decoder decoder
	beat    func() // a line was read
}

// newStream reads body until it ends or ctx does. Who made it reads events until
// they are closed, and then calls close.
func newStream(ctx context.Context, body io.ReadCloser, d decoder, beat func()) *stream {
	s := &stream{body: body, decoder: d, beat: beat, events: make(chan watchEvent, ahead)}
	go func() {
		defer close(s.events)
		s.err = s.read(ctx)
	}()
	return s
}

// close ends the stream and waits for its reader; ctx of newStream has to have
// ended, or events to be closed.
func (s *stream) close() {
	closeBody(s.body)
	for range s.events {
		continue // what was read ahead is not taken any more
	}
}

// read hands on events until the watch ends. A line that is cut off by the end of
// the connection comes again.
func (s *stream) read(ctx context.Context) error {
	r := bufio.NewReaderSize(s.body, 64<<10)
	var line []byte
	for {
		var err error
		line, err = readLine(r, line[:0])
		switch {
		case errors.Is(err, errLine):
			return brokenEvent(err)
		case err != nil:
			return nil
		}
		s.beat()
		if len(line) == 0 {
			continue
		}
		ev, err := s.decoder.event(line)
		if err != nil {
			return brokenEvent(err)
		}
		if ev.Type == watch.Error {
			return apierrors.FromObject(ev.Status)
		}
		select {
		case s.events <- ev:
		case <-ctx.Done():
			return nil
		}
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

// causeBroken marks an error that the server did not send.
const causeBroken metav1.CauseType = "UnreadableWatchEvent"

// brokenEvent is the end of a watch that sends what cannot be read.
func brokenEvent(err error) error {
	status := apierrors.NewInternalError(err)
	status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{Type: causeBroken})
	return status
}
