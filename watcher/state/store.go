package state

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kwatchman/kwatchman/watcher/object"
)

// store is where a State keeps its data: memory, or a journal with a file.
type store interface {
	// object gives the object seen last under a key of a resource, or nil; without
	// withManifest perhaps without its manifest.
	object(resource, key string, withManifest bool) (*object.Object, error)
	// keys calls for each object of a resource, once all is written.
	keys(resource string, each func(key string)) error
	// change is one that is written, or nil.
	change(seq uint64) (*Change, error)
	// input is what keep has for a change, or nil.
	input(seq uint64) ([]byte, error)
	// size is that of what is kept, in bytes.
	size() int64

	// These record; the caller holds State.mu, and they wait for nothing.

	// hasRoom tells whether a transaction may come: the disk holds back, too.
	hasRoom() bool
	// record takes a transaction with its changes in the queue; written: at once,
	// so that the caller hands them on.
	record(t Tx, changes []*Queued) (written bool)
	// keep takes the input of a change's next step; nil: none any more.
	keep(seq uint64, in *keptInput)
	// remove drops a change that is acknowledged, with its input.
	remove(seq uint64)

	// These write on their own, after a flush and while no source records.

	// start writes what a configuration begins with, and forgets the objects that
	// no watch holds.
	start(m meta, watches []Watch) error
	// replace puts objects into the place of those in the area of a watch; more
	// adds to them.
	replace(w *Watch, objects []*object.Object, more bool) error
	// disown takes back whose state it is.
	disown() error

	// flush waits until all that is recorded is written and handed on.
	flush(ctx context.Context) error
	// writingSince is when the write that is under way began; zero: there is none.
	writingSince() time.Time
	// close writes what is recorded and gives the file back; again is no harm.
	// monitor.closed is set before.
	close() error
}

// meta is what a state says of itself.
type meta struct {
	key     []byte // of the hash for Secrets
	cluster Cluster
	since   Since // never changed, only replaced
	epoch   int64 // of the leader that wrote the state; noEpoch: nobody knows
}

// loaded is what a file holds when it is opened.
type loaded struct {
	meta
	watches      []Watch
	dictionaries []dictionary
	queue        []*Queued // oldest first
	scopes       scopes    // those of the queue
}

// dictionary is what the codec needs to unpack the objects of a resource.
type dictionary struct {
	resource string
	number   uint32
	text     []byte // compressed
}

// keptInput is the input of a step that a change waits for.
type keptInput struct {
	step   int
	before string
	input  []byte
}

// objectID names an object.
type objectID struct{ resource, key string }

func (a objectID) compare(b objectID) int {
	if c := strings.Compare(a.resource, b.resource); c != 0 {
		return c
	}
	return strings.Compare(a.key, b.key)
}

// scopes are those in use, each once.
type scopes map[Scope]*Scope

// share gives the one that is equal to scope.
func (s scopes) share(scope *Scope) *Scope {
	if known := s[*scope]; known != nil {
		return known
	}
	s[*scope] = scope
	return scope
}

// areasOf gives the watches of each resource, named as deployments.apps.
func areasOf(watches []Watch) map[string][]Watch {
	out := map[string][]Watch{}
	for _, w := range watches {
		resource := w.Place().String()
		out[resource] = append(out[resource], w)
	}
	return out
}

// holdsKey tells whether an object lies in the area of one of the watches of its
// resource.
func holdsKey(watches []Watch, key string) bool {
	namespace, _, _ := strings.Cut(key, "/")
	return slices.ContainsFunc(watches, func(w Watch) bool { return w.holds(namespace) })
}
