package source

import (
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// resumeAttempts is how often in a row a watch may be refused for what it asks
// for, or send what cannot be read, before the objects are listed instead.
const resumeAttempts = 5

// Position is where a resource is to be followed from. It is a value: each answer
// of the API server gives the next one.
type Position struct {
	// Version is the resourceVersion up to which all is recorded, and from which
	// the watch goes on; empty: the objects have to be listed.
	Version string
	// ListAt is the resourceVersion of the past state to list; empty: the newest
	// state. It has no meaning while there is a Version.
	ListAt string

	// lost is the Version that the API server has no history of any more; empty:
	// there was none.
	lost string
	// tried is the last ListAt that an answer gave, so that an API server whose
	// history begins at the same place is not asked twice.
	tried   string
	refused int // answers in a row that count against resumeAttempts
}

// Listed is the position behind a list of that version, which is recorded whole.
func (p Position) Listed(version string) Position { return Position{Version: version, tried: p.tried} }

// Progress is the position behind an event of a watch that is recorded.
func (p Position) Progress(version string) Position { return Position{Version: version} }

// After is the position after an attempt to list or watch has ended with err; nil
// is the ordinary end of a watch.
//
// After 410 or 404 there is nothing to go on from, so the objects are listed: as
// they were where the API server's history begins, if it says where, so that what
// came later is watched change by change. They are listed, too, when the version
// stays ahead of the server (its data was restored) or what it sends stays
// unreadable. A server in trouble, out of reach or refusing the credentials says
// nothing about its history: the watch goes on when it is well again.
func (p Position) After(err error) Position {
	switch {
	case err == nil:
	case isGone(err):
		begins := historyBegins(err)
		if begins == p.tried {
			begins = ""
		}
		return Position{ListAt: begins, tried: begins, lost: p.known()}
	case apierrors.IsNotFound(err):
		return Position{lost: p.known()}
	case refusesPosition(err):
		if p.refused++; p.refused >= resumeAttempts {
			return Position{lost: p.known()}
		}
	}
	return p
}

// AfterPast is the position after the state at ListAt could not be listed. Only
// an answer about that state ends the attempts.
func (p Position) AfterPast(err error) Position {
	if isGone(err) || refusesPosition(err) {
		p.ListAt = ""
		return p
	}
	return p.After(err)
}

// known is the last version up to which all was recorded; empty: none is known.
func (p Position) known() string {
	if p.Version != "" {
		return p.Version
	}
	return p.lost
}

// isGone tells whether the API server does not have that history any more.
func isGone(err error) bool { return apierrors.IsGone(err) || apierrors.IsResourceExpired(err) }

// refusesPosition tells whether an answer is about what was asked for, or cannot
// be read, so that it will be the same the next time.
func refusesPosition(err error) bool {
	return apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge) ||
		apierrors.HasStatusCause(err, causeBroken) || apierrors.IsBadRequest(err) || apierrors.IsInvalid(err)
}

// tooOld is how an API server says where its history begins; one that says it
// otherwise is listed anew.
var tooOld = regexp.MustCompile(`too old resource version: \d+ \((\d+)\)`)

// historyBegins is where a server's history begins, as far as it says so.
func historyBegins(err error) string {
	if m := tooOld.FindStringSubmatch(err.Error()); m != nil {
		return m[1]
	}
	return ""
}
