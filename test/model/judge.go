// Package model runs the programs against random changes and random faults, and
// judges what arrives by what truly happened: the history that etcd itself gives.
//
// The judge is a plain function of four things: what happened, what was told, what
// the programs announced in their logs, and what was not watched for a time.
package model

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Key names an object. Resource is written as the log does: configmaps, or
// widgets.example.com.
type Key struct{ Resource, Namespace, Name string }

func (k Key) String() string { return k.Resource + "/" + k.Namespace + "/" + k.Name }

// State is one state of an object. Version is uid.resourceVersion, or empty while
// the object does not exist or is not selected.
type State struct {
	Version  string
	Revision int64     // etcd's, that made it so
	At       time.Time // when the test saw it, for explanations alone
}

// Telling is an event that a sink accepted.
type Telling struct {
	ID       string
	Of       Key
	Old, Now string // versions of both objects, or empty
	Via      string
	Epoch    int64 // of the leader; negative: there is no Lease
	At       time.Time
}

// Span is a time in which a place may not have been watched. A change of a revision
// after From, up to To, may be told or not. An empty Resource stands for all.
type Span struct {
	Resource, Namespace string
	From, To            int64
}

// Run is all that the judge knows.
type Run struct {
	// History has the states of each object in their order. The first is that of
	// before the run, which the watchers know.
	History map[Key][]State
	// Told is in the order in which the sinks accepted.
	Told      []Telling
	Announced []Announcement
	Unwatched []Span
}

// Judge compares what was told with what happened.
func Judge(r Run) *Verdict {
	v := &Verdict{Arrived: len(r.Told)}
	told := map[Key][]Telling{}
	for _, t := range r.Told {
		told[t.Of] = append(told[t.Of], t)
	}
	for _, key := range sorted(r.History) {
		newObject(&r, v, key).judge(told[key])
		delete(told, key)
	}
	for _, key := range sorted(told) {
		for _, t := range told[key] {
			v.find(Invented, "", key, "%s is of an object that never was", t.ID)
		}
	}
	return v
}

func sorted[V any](m map[Key]V) []Key {
	return slices.SortedFunc(maps.Keys(m), func(a, b Key) int { return strings.Compare(a.String(), b.String()) })
}

// uidOf is the first half of a version.
func uidOf(version string) string {
	uid, _, _ := strings.Cut(version, ".")
	return uid
}

// idOf is the id that the event of a transition has to have.
func idOf(old, now string) string {
	switch {
	case now == "":
		return old + ".delete"
	case old == "":
		return now + ".add"
	}
	return now + ".update"
}
