package state

import (
	"github.com/kwatchman/kwatchman/watcher/client"
	"github.com/kwatchman/kwatchman/watcher/object"
)

// batch is what is written in one transaction of the journal.
type batch struct {
	id           uint64
	objects      map[objectID]*object.Object // nil: forgotten
	changes      []*Queued
	done         []uint64                // changes that are acknowledged
	inputs       map[uint64]*keptInput   // nil: no longer kept
	watches      map[client.Place]*Watch // nil: no longer followed
	dictionaries []dictionary            // what the objects need that come with it or later
	bytes        int                     // of objects and changes
	urgent       bool                    // somebody waits for it
}

func newBatch(id uint64) *batch { return &batch{id: id} }

// add takes a transaction.
func (b *batch) add(t *Tx, changes []*Queued) {
	b.bytes += t.size()
	if b.objects == nil && len(t.objects) > 0 {
		b.objects = map[objectID]*object.Object{}
	}
	for _, o := range t.objects {
		b.objects[o.objectID] = o.object
	}
	if b.watches == nil && len(t.watches)+len(t.gone) > 0 {
		b.watches = map[client.Place]*Watch{}
	}
	for _, w := range t.watches {
		b.watches[w.Place()] = w
	}
	for _, p := range t.gone {
		b.watches[p] = nil
	}
	b.changes = append(b.changes, changes...)
}

func (b *batch) setInput(seq uint64, in *keptInput) {
	if b.inputs == nil {
		b.inputs = map[uint64]*keptInput{}
	}
	b.inputs[seq] = in
}

func (b *batch) empty() bool {
	return len(b.objects) == 0 && len(b.changes) == 0 && len(b.done) == 0 && len(b.inputs) == 0 &&
		len(b.watches) == 0 && len(b.dictionaries) == 0
}
