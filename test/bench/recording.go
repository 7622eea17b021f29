package main

import (
	"bufio"
	"cmp"
	"context"
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
