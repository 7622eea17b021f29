package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kwatchman/kwatchman/event"
)

// recording is what the real API server sent on one watch: the objects, and the
// changes after them, byte by byte.
type recording struct {
	version string // of the state before the changes
	objects []recordedObject
	events  []recordedEvent
	pairs   []event.Event // some of the events, as the watcher sends them
}

type recordedObject struct {
	name, uid string
	json      []byte
}

type recordedEvent struct {
	version string // of the object that it brings
	name    string
	line    []byte // with its line feed
}

// meta is what is read of an object.
type meta struct {
	Metadata struct {
		Name, UID, ResourceVersion string
		Annotations                map[string]string
	}
}

// record reads the newest state and watches from there on, has the changes made
// and returns once all of them were received.
func (c *cluster) record(ctx context.Context, changes []change) (*recording, error) {
	rec := &recording{}
	query := "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
	body, err := c.open(ctx, http.MethodGet, deployments+query, "", nil)
	if err != nil {
		return nil, err
	}
	err = rec.readObjects(bufio.NewReaderSize(body, 64<<10))
	_ = body.Close()
	if err != nil {
		return nil, err
	}
	say("recorded %d objects of %d bytes on average", len(rec.objects), rec.objectSize())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	read := make(chan error, 1)
	go func() { read <- c.recordEvents(ctx, rec, len(changes)) }()
	made, err := c.make(ctx, changes, 0)
	if err == nil {
		err = sleepUntil(ctx, time.Minute, read)
	} else {
		cancel()
		err = cmp.Or(err, <-read) // it ends, and the first one says why
	}
	if err != nil {
		return nil, err
	}
	for _, e := range rec.events {
		delete(made.kinds, e.version)
	}
	if len(made.kinds) > 0 {
		return nil, fmt.Errorf("record: %d changes are not in the stream", len(made.kinds))
	}
	return rec, rec.keepPairs()
}

// recordEvents watches until n events are read. An API server ends the watch of
// whoever does not keep up; it is resumed then.
func (c *cluster) recordEvents(ctx context.Context, rec *recording, n int) error {
	for len(rec.events) < n {
		before := len(rec.events)
		query := "?watch=true&timeoutSeconds=3600&resourceVersion=" + rec.last(before)
		body, err := c.open(ctx, http.MethodGet, deployments+query, "", nil)
		if err != nil {
			return err
		}
		err = rec.readEvents(bufio.NewReaderSize(body, 64<<10), n)
		_ = body.Close()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(rec.events) < n {
			say("the watch ended after %d events and is resumed", len(rec.events)-before)
		}
	}
	return nil
}

// sleepUntil waits for the end of what is under way.
func sleepUntil(ctx context.Context, most time.Duration, ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-time.After(most):
		return errors.New("record: the API server does not send all changes")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readLine reads an event of a watch.
func readLine(r *bufio.Reader) (kind string, object json.RawMessage, m meta, line []byte, err error) {
	if line, err = r.ReadBytes('\n'); err != nil {
		return "", nil, m, nil, fmt.Errorf("record: %w", err)
	}
	var ev struct {
		Type   string
		Object json.RawMessage
	}
	if err = json.Unmarshal(line, &ev); err == nil {
		err = json.Unmarshal(ev.Object, &m)
	}
	return ev.Type, ev.Object, m, line, err
}

// readObjects reads until the bookmark that ends the initial events.
func (rec *recording) readObjects(r *bufio.Reader) error {
	for {
		kind, object, m, _, err := readLine(r)
		switch {
		case err != nil:
			return err
		case kind == "BOOKMARK" && m.Metadata.Annotations[metav1.InitialEventsAnnotationKey] == "true":
			rec.version = m.Metadata.ResourceVersion
			return nil
		case kind != "ADDED":
			return fmt.Errorf("record: %s among the initial events", kind)
		}
		rec.objects = append(rec.objects, recordedObject{m.Metadata.Name, m.Metadata.UID, object})
	}
}

func (rec *recording) readEvents(r *bufio.Reader, n int) error {
	for len(rec.events) < n {
		kind, _, m, line, err := readLine(r)
		switch {
		case err != nil:
			return err
		case kind != "MODIFIED":
			return fmt.Errorf("record: %s instead of MODIFIED", kind)
		}
		rec.events = append(rec.events, recordedEvent{m.Metadata.ResourceVersion, m.Metadata.Name, line})
	}
	return nil
}

// last is the resourceVersion after the first n events.
func (rec *recording) last(n int) string {
	if n == 0 {
		return rec.version
	}
	return rec.events[n-1].version
}

// versions are those of all events.
func (rec *recording) versions() []string {
	var out []string
	for _, e := range rec.events {
		out = append(out, e.version)
	}
	return out
}

// object is the i-th object. Beyond those that were recorded they come again,
// under other names and uids of the same length.
func (rec *recording) object(i int) []byte {
	o, copied := rec.objects[i%len(rec.objects)], i/len(rec.objects)
	if copied == 0 {
		return o.json
	}
	name := bytes.Replace([]byte(o.name), []byte("-00-"), fmt.Appendf(nil, "-%02d-", copied), 1)
	out := bytes.ReplaceAll(o.json, []byte(o.name), name)
	return bytes.ReplaceAll(out, []byte(o.uid), copyUID(o.uid, copied))
}

// copyUID is another uid for each copy.
func copyUID(uid string, copied int) []byte {
	out := []byte(uid)
	first, err := hex.DecodeString(uid[:8])
	if err != nil {
		return fmt.Appendf(out[:0], "%08x%s", copied, uid[8:])
	}
	n := binary.BigEndian.Uint32(first) ^ uint32(copied) //nolint:gosec // below maxCopies
	return fmt.Appendf(out[:0], "%08x%s", n, uid[8:])
}

// objectSize is the mean in bytes.
func (rec *recording) objectSize() int {
	n := 0
	for _, o := range rec.objects {
		n += len(o.json)
	}
	return n / max(len(rec.objects), 1)
}

// item is an object as it stands in a list, where the API server leaves out what
// the list says.
func item(object []byte) []byte {
	if rest, ok := bytes.CutPrefix(object, []byte(`{"kind":"Deployment","apiVersion":"apps/v1",`)); ok {
		return append([]byte{'{'}, rest...)
	}
	return object
}

// write writes parts until one fails.
func write(w io.Writer, parts ...[]byte) error {
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}
