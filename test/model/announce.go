package model

import (
	"strconv"
	"strings"
	"time"
)

// Excuse is what a line of the log excuses; lines may excuse several things.
type Excuse uint

const (
	// mayMerge: changes between the state told last and one that was true at the
	// line are told as one net change.
	mayMerge Excuse = 1 << iota
	// mayLose: changes made before the line, and after the state told last before
	// it, are never told.
	mayLose
	// mayLosePassing: an object that was created and deleted within a gap is never
	// told.
	mayLosePassing
	// mayRetellBehind: what waited at the leader before by its watermark, and was told
	// by it in its last second, is told again as a net change.
	mayRetellBehind
	// mayRetell: a comparison with something older than what was told last tells
	// again, or with an older old object, what was true before the line.
	mayRetell
)

func (e Excuse) has(what Excuse) bool { return e&what != 0 }

// viaRelist marks an event that a comparison found.
const viaRelist = "relist"

// Announcement is a line that excuses something: of its resource and namespace, or
// of all where it names none, and of nothing that happened later.
type Announcement struct {
	Line                string
	Excuses             Excuse
	Resource, Namespace string
	ID                  string // of the one change that it is about
	At                  time.Time
	From, UpTo          int64 // revisions: where the gap begins, if the line says so; at that time
}

// names tells whether a line is about an object.
func (a Announcement) names(k Key) bool {
	return (a.Resource == "" || a.Resource == k.Resource) && (a.Namespace == "" || a.Namespace == k.Namespace)
}

// known are the lines that announce something. A line that is not here excuses
// nothing.
var known = []struct {
	message string
	where   string // what its field comparedWith has to contain
	unless  string // a field that it must not have
	excuses Excuse
	// listed: what is compared is listed after the line, so that it holds until the
	// program says that it follows.
	listed bool
}{
	{message: "the API server's history is gone, so the objects are listed: changes in between are merged", excuses: mayMerge},
	{message: "the objects are listed and compared with what was seen: changes in between are merged", excuses: mayMerge},
	// What came and went within the gap stands in no list; all else is told.
	{message: "the API server's history is gone, so the objects are listed: changes in between are read one by one, but objects that came and went are not told", excuses: mayLosePassing},
	{message: "the objects are listed and compared with what was seen: changes in between are read one by one, but objects that came and went are not told", excuses: mayLosePassing},
	{message: "changes that waited at the leader before cannot be read: they are not told, or merged into one", excuses: mayLose | mayMerge | mayRetellBehind},
	{message: "watched for the first time: what exists is the baseline", excuses: mayLose, listed: true},
	{message: leftBehind, where: "what the leader before saw last", excuses: mayLose},
	{message: leftBehind, where: "what this watcher saw last", excuses: mayLose | mayMerge | mayRetell, listed: true},
	{message: leftBehind, where: "a baseline", excuses: mayLose | mayMerge | mayRetell, listed: true},
	// The letter itself counts as told, so that only one that is nowhere is lost.
	{message: "change not delivered", unless: "deadLetter", excuses: mayLose},
	{message: "changes lost", excuses: mayLose},
	// A namespace or resource is taken out of the configuration.
	{message: "no longer watched, what was seen is forgotten", excuses: mayLose},
}

const leftBehind = "the state that the leader before has left cannot be read: some changes since then may be missing"

// Line is a line of a program's log.
type Line struct {
	At      time.Time
	Message string
	Fields  map[string]any
}

func (l Line) text(field string) string {
	s, _ := l.Fields[field].(string)
	return s
}

// about tells whether a line is about the place of another one, or of all.
func (l Line) about(resource, namespace string) bool {
	return l.text("resource") == resource && (l.text("namespace") == "" || l.text("namespace") == namespace)
}

// Announcements are those in the log of one process. revision gives etcd's at a
// time, or soon after.
func Announcements(log []Line, revision func(time.Time) int64) []Announcement {
	var out []Announcement
	for i, l := range log {
		for _, k := range known {
			_, has := l.Fields[k.unless]
			if l.Message != k.message || !strings.Contains(l.text("comparedWith"), k.where) || k.unless != "" && has {
				continue
			}
			a := Announcement{
				Line: l.Message, Excuses: k.excuses, At: l.At, UpTo: revision(l.At),
				Resource: l.text("resource"), Namespace: l.text("namespace"), ID: l.text("id"),
			}
			a.From, _ = strconv.ParseInt(l.text("from"), 10, 64)
			if k.where != "" {
				a.Line += ", compared with " + k.where
			}
			if k.listed {
				a.UpTo = max(a.UpTo, revision(followed(log[i:], a)))
			}
			out = append(out, a)
			break
		}
	}
	return out
}

// followed is when a process says that it follows what a line was about. Where it
// ended before, that is when it spoke of it.
func followed(log []Line, a Announcement) time.Time {
	for _, l := range log {
		if a.Resource == "" && l.Message == isReady || a.Resource != "" && l.Message == isWatching && l.about(a.Resource, a.Namespace) {
			return l.At
		}
	}
	return a.At
}

// Lines that say how far a program is.
const (
	isReady     = "ready"
	isWatching  = "watching"
	isStarting  = "starting"
	isLeading   = "leading"
	isChanged   = "the configuration has changed"
	isGoingOver = "the configuration has changed, going over to it"
)
